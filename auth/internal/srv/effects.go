package srv

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/micro/go-platform/auth/internal/policy"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/rpcerr"
)

// maxCuts bounds the cuts that an answer lists.
const maxCuts = 100

// effects tells what a change from the rules before to those after cuts. changed
// are the rules that differ.
type effects struct {
	before, after *policy.Set
	changed       []*policy.Set
	narrows       bool    // it may deny what was allowed
	caller        *claims // nil when nobody is asked who it is
}

// newEffects returns those of replacing a rule, old, by another one. Either may be
// nil.
func newEffects(before, after *policy.Set, caller *claims, old, made *pb.Rule) (*effects, error) {
	e := &effects{before: before, after: after, caller: caller}
	// Most changes let more in, such as those of somebody who loads rules.
	e.narrows = before.IsOpen() && !after.IsOpen() || old.GetEffect() == policy.Allow || made.GetEffect() == policy.Deny
	for _, r := range []*pb.Rule{old, made} {
		if r == nil {
			continue
		}
		one, err := policy.Compile([]*pb.Rule{r})
		if err != nil {
			return nil, err
		}
		e.changed = append(e.changed, one)
	}
	return e, nil
}

// touches reports whether the change may decide the call another way.
func (e *effects) touches(c *pb.Call) bool {
	call := policy.Call{Account: c.Account, Roles: c.Roles, Scopes: c.Scopes, Service: c.Service, Method: c.Method}
	return e.before.IsOpen() != e.after.IsOpen() ||
		slices.ContainsFunc(e.changed, func(one *policy.Set) bool { return one.Matches(&call) })
}

// cut returns what becomes of a call that the change touches, if it is cut.
func (e *effects) cut(c *pb.Call) *pb.Cut {
	call := toCall(c)
	before, after := e.before.Decide(call), e.after.Decide(call)
	if !before.Allowed || after.Allowed {
		return nil
	}
	return &pb.Cut{
		Call: c, Before: toDecision(before), After: toDecision(after),
		Platform: strings.HasPrefix(c.Account, policy.PlatformPrefix) || slices.Contains(c.Roles, policy.PlatformRole),
		Own:      e.caller != nil && c.Account == e.caller.Subject,
	}
}

// of tells what is cut of the calls that were seen, and of those that are needed
// whether they were seen or not.
func (e *effects) of(seen []*pb.Decided) []*pb.Cut {
	alike := map[string]*pb.Cut{}
	var cuts []*pb.Cut
	for _, s := range seen {
		key := encode([]any{s.Call.Account, s.Call.Roles, s.Call.Scopes, s.Call.Service, s.Call.Method})
		one := alike[key] // allowed by another rule before
		if one == nil {
			if one = e.cut(s.Call); one == nil {
				continue
			}
			one.First = s.First
			alike[key] = one
			cuts = append(cuts, one)
		}
		one.Count, one.First, one.Last = one.Count+s.Count, min(one.First, s.First), max(one.Last, s.Last)
	}
	for _, c := range needed(e.caller) {
		if !e.touches(c) {
			continue
		}
		if one := e.cut(c); one != nil {
			one.Platform = one.Platform || !one.Own
			cuts = append(cuts, one)
		}
	}
	first := func(b bool) int {
		if b {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(cuts, func(a, b *pb.Cut) int {
		return cmp.Or(first(a.Platform)-first(b.Platform), first(a.Own)-first(b.Own), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Call.Account, b.Call.Account))
	})
	return cuts
}

// needed are calls that nobody may have made lately and that are missed as soon
// as they are refused: those of the platform's services among themselves, the
// telemetry of a service that no rule names, and what the caller may do there.
func needed(caller *claims) (calls []*pb.Call) {
	for _, short := range enrollable() {
		service := policy.PlatformPrefix + short
		calls = append(calls, &pb.Call{
			Account: policy.PlatformPrefix + "monitor", Roles: []string{policy.PlatformRole}, Scopes: []string{ScopeService}, Service: service, Method: "*",
		})
		if caller != nil {
			calls = append(calls, &pb.Call{Account: caller.Subject, Roles: caller.Roles, Scopes: caller.scopes(), Service: service, Method: "*"})
		}
	}
	for _, r := range startingRules() {
		if len(r.Roles) > 0 || policy.IsNames(r) {
			continue
		}
		for _, method := range r.Methods {
			calls = append(calls, &pb.Call{Service: r.Services[0], Method: method})
		}
	}
	return calls
}

// answer is what a caller is told of cuts.
func answer(cuts []*pb.Cut, unknown int64) *pb.Effects {
	return &pb.Effects{Cuts: cuts[:min(len(cuts), maxCuts)], Total: int64(len(cuts)), Unknown: unknown}
}

// refuseCuts returns an error if a change cuts what nobody cuts by accident.
func refuseCuts(id string, cuts []*pb.Cut) error {
	n := 0
	for _, c := range cuts {
		if c.Platform || c.Own {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	c := cuts[0]
	who, seen := c.Call.Account, "needed, not seen in the last hour"
	if who == "" {
		who = "any service"
	}
	if c.Count > 0 {
		seen = fmt.Sprintf("%s, the last at %s", clean.Count(c.Count, "time"), time.Unix(c.Last, 0).UTC().Format(time.RFC3339))
	}
	return fmt.Errorf("rule %.128q: %w: it would cut calls of the platform or of your own account (%s), such as %.128q calling %.256q of %.256q (%s): look at all with dry_run, set force to do it",
		id, rpcerr.ErrConflict, clean.Count(n, "kind"), who, c.Call.Method, c.Call.Service, seen)
}

func toCall(c *pb.Call) *policy.Call {
	return &policy.Call{Account: c.Account, Roles: c.Roles, Scopes: c.Scopes, Service: c.Service, Method: c.Method}
}

func toDecision(d policy.Decision) *pb.Decision {
	return &pb.Decision{Allowed: d.Allowed, Rule: d.Rule, Reason: d.Reason}
}
