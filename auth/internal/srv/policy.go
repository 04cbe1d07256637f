package srv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/micro/go-platform/auth/internal/policy"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/page"
	"github.com/micro/go-platform/internal/rpcerr"
)

// policyHandler is Policy.
type policyHandler struct {
	feed      *feed
	decisions *decisions
	insecure  bool
	done      <-chan struct{}
	watchers  *daemon.Streams
	changing  sync.Mutex // one change at a time, each decided on by the rules that it changes
}

// Create implements pb.PolicyHandler.
func (h *policyHandler) Create(ctx context.Context, req *pb.PolicyCreateRequest, rsp *pb.PolicyCreateResponse) (err error) {
	if req.Rule != nil && req.Rule.Id == "" {
		req.Rule.Id = uuid.NewString()
	}
	rsp.Rule = req.Rule
	rsp.Effects, err = h.put(ctx, req.Rule, false, req.Force, req.DryRun)
	return refuse(err)
}

// Update implements pb.PolicyHandler.
func (h *policyHandler) Update(ctx context.Context, req *pb.PolicyUpdateRequest, rsp *pb.PolicyUpdateResponse) (err error) {
	rsp.Rule = req.Rule
	rsp.Effects, err = h.put(ctx, req.Rule, true, req.Force, req.DryRun)
	return refuse(err)
}

// Delete implements pb.PolicyHandler.
func (h *policyHandler) Delete(ctx context.Context, req *pb.PolicyDeleteRequest, rsp *pb.PolicyDeleteResponse) (err error) {
	if req.Id == "" {
		return refuse(rpcerr.Invalid("id", "missing"))
	}
	rsp.Effects, err = h.change(ctx, &ruleEdit{
		id: req.Id, force: req.Force, dryRun: req.DryRun,
		check: func(old *pb.Rule) error { return checkRule(nil, old, true) },
		write: func(at uint64) error { return h.feed.store.DeleteRule(ctx, req.Id, at) },
	})
	return refuse(err)
}

func (h *policyHandler) put(ctx context.Context, r *pb.Rule, update, force, dryRun bool) (*pb.Effects, error) {
	if r == nil {
		return nil, rpcerr.Invalid("rule", "missing")
	}
	if err := policy.Validate(r); err != nil {
		return nil, err
	}
	return h.change(ctx, &ruleEdit{
		id: r.Id, rule: r, force: force, dryRun: dryRun,
		check: func(old *pb.Rule) error { return checkRule(r, old, update) },
		write: func(at uint64) error { return h.feed.store.PutRule(ctx, r, update, at) },
	})
}

// checkRule refuses to change a rule that is not there, or to make one that is,
// and settles whether the new one is a starting rule.
func checkRule(r, old *pb.Rule, update bool) error {
	switch {
	case update && old == nil:
		return rpcerr.ErrNotFound
	case !update && old != nil:
		return rpcerr.ErrExists
	case update && r.GetRevision() != 0 && r.GetRevision() != old.GetRevision():
		return fmt.Errorf("%w: revision is %d now", rpcerr.ErrConflict, old.GetRevision())
	}
	if r != nil {
		r.Starting = old.GetStarting()
	}
	return nil
}

// ruleEdit is a change of one rule.
type ruleEdit struct {
	id            string
	rule          *pb.Rule // nil: there is none afterwards
	force, dryRun bool
	check         func(old *pb.Rule) error
	write         func(at uint64) error
}

// after returns the rules after the change.
func (c *ruleEdit) after(s *policy.Set) (*policy.Set, error) {
	if c.rule == nil {
		return s.With(nil, []string{c.id})
	}
	return s.With([]*pb.Rule{c.rule}, nil)
}

// changeTries bounds how often a change begins again because another instance
// was faster.
const changeTries = 20

// change makes a change unless it cuts too much, and tells what it cuts.
func (h *policyHandler) change(ctx context.Context, c *ruleEdit) (*pb.Effects, error) {
	h.changing.Lock()
	defer h.changing.Unlock()
	for try := 1; ; try++ {
		rules := h.feed.now.Load().rules
		if try == 1 && (c.dryRun || c.check(rules.set.Get(c.id)) != nil) || try > 1 {
			// What another instance did may not have arrived yet.
			if err := h.feed.refresh(ctx); err != nil {
				return nil, err
			}
			rules = h.feed.now.Load().rules
		}
		effects, err := h.effectsOf(ctx, c, rules.set)
		if err != nil || c.dryRun {
			return effects, err
		}
		switch err := c.write(rules.revision); {
		case err == nil:
			return effects, h.feed.refresh(ctx)
		case !errors.Is(err, errMoved) || try == changeTries:
			return nil, err
		}
	}
}

// effectsOf returns what a change cuts, or why it is refused.
func (h *policyHandler) effectsOf(ctx context.Context, c *ruleEdit, set *policy.Set) (*pb.Effects, error) {
	old := set.Get(c.id)
	if err := c.check(old); err != nil {
		return nil, fmt.Errorf("rule %.128q: %w", c.id, err)
	}
	after, err := c.after(set)
	if err != nil {
		return nil, err
	}
	caller, _ := callerClaims(ctx)
	e, err := newEffects(set, after, caller, old, c.rule)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	var cuts []*pb.Cut
	if e.narrows {
		cuts = e.of(h.decisions.allowed(now, e.touches))
	}
	if !c.force && !c.dryRun {
		if err := refuseCuts(c.id, cuts); err != nil {
			return nil, err
		}
	}
	return answer(cuts, h.decisions.lost(now)), nil
}

// Read implements pb.PolicyHandler.
func (h *policyHandler) Read(_ context.Context, req *pb.PolicyReadRequest, rsp *pb.PolicyReadResponse) error {
	if rsp.Rule = h.feed.now.Load().rules.set.Get(req.Id); rsp.Rule != nil {
		return nil
	}
	return refuse(fmt.Errorf("rule %.128q: %w", req.Id, rpcerr.ErrNotFound))
}

// Search implements pb.PolicyHandler.
func (h *policyHandler) Search(_ context.Context, req *pb.PolicySearchRequest, rsp *pb.PolicySearchResponse) error {
	if err := page.Check(&req.Limit, &req.Offset); err != nil {
		return refuse(err)
	}
	var found []*pb.Rule
	for _, r := range h.feed.now.Load().rules.all() {
		if (req.Account == "" || slices.Contains(r.Accounts, req.Account)) && (req.Service == "" || slices.Contains(r.Services, req.Service)) {
			found = append(found, r)
		}
	}
	rsp.Rules = page.Cut(found, req.Limit, req.Offset)
	return nil
}

func decide(s *policy.Set, c *pb.Call) *pb.Decision { return toDecision(s.Decide(toCall(c))) }

// Check implements pb.PolicyHandler.
func (h *policyHandler) Check(_ context.Context, req *pb.PolicyCheckRequest, rsp *pb.PolicyCheckResponse) error {
	if req.Call == nil {
		return refuse(rpcerr.Invalid("call", "missing"))
	}
	rsp.Decision = decide(h.feed.now.Load().rules.set, req.Call)
	return nil
}

// Report implements pb.PolicyHandler. Reports cannot be checked: what an account
// says of its own services misleads about these alone.
func (h *policyHandler) Report(ctx context.Context, req *pb.PolicyReportRequest, _ *pb.PolicyReportResponse) error {
	c, known := callerClaims(ctx)
	switch {
	case !known && h.insecure: // anybody may do anything
		h.decisions.add("", req.Decisions, max(req.Dropped, 0), time.Now())
		return nil
	case !known:
		return refuse(errToken)
	case c.Actor != nil:
		return refuse(fmt.Errorf("%w: a report is for a service's own token, not for one that it exchanged", rpcerr.ErrForbidden))
	}
	rules := h.feed.now.Load().rules.set
	held := map[string]bool{}
	for _, d := range req.Decisions {
		service := d.GetCall().GetService()
		if held[service] {
			continue
		}
		if err := mayHold(rules, c, service); err != nil {
			return refuse(err)
		}
		held[service] = true
	}
	h.decisions.add(c.Subject, req.Decisions, max(req.Dropped, 0), time.Now())
	return nil
}

// mayHold returns an error unless a service's name is an account's own, or one
// that it may hold.
func mayHold(rules *policy.Set, c *claims, service string) error {
	d := rules.Holds(&policy.Call{Account: c.Subject, Roles: c.Roles, Scopes: c.scopes(), Service: service})
	if !d.Allowed && service != c.Subject { // its own, whatever role it lacks
		return fmt.Errorf("%w: %.128q may not watch or report on %.256q: %s", rpcerr.ErrForbidden, c.Subject, service, d.Reason)
	}
	return nil
}

// Denials implements pb.PolicyHandler.
func (h *policyHandler) Denials(_ context.Context, req *pb.PolicyDenialsRequest, rsp *pb.PolicyDenialsResponse) error {
	if err := page.Check(&req.Limit, &req.Offset); err != nil {
		return refuse(err)
	}
	now := time.Now()
	rsp.Denials = page.Cut(h.decisions.denials(req.Account, req.Service, now), req.Limit, req.Offset)
	rsp.Dropped = h.decisions.lost(now)
	return nil
}
