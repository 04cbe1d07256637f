// Package policy decides who may call what. auth-srv and the services that
// follow it share it, so that a dry run and the real thing cannot differ. What
// a rule means is said at Rule in auth.proto.
package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/rpcerr"
)

// Call is what somebody with a valid token wants to do.
type Call struct {
	Account string
	Roles   []string
	Scopes  []string
	Service string
	Method  string
}

// Decision says what became of a call and why.
type Decision struct {
	Allowed bool
	Rule    string // id of the rule that decided, empty if none did
	Reason  string // for people; without names of the call, so it can be shown to anybody
}

// Set is an immutable set of rules, safe for concurrent use. With makes another
// of it at a cost that hardly depends on how many rules there are.
type Set struct {
	calls, names levels // rules about calls, and about names
	first        int    // rules about calls that are not starting rules
	closed       bool   // as if there were such rules
}

// Compile makes a Set of rules, in any order. It fails on a rule that Validate
// refuses, on two with the same id and on more than MaxRules. The Set keeps the
// rules: they must not change any more.
func Compile(rules []*pb.Rule) (*Set, error) { return (&Set{}).With(rules, nil) }

// With returns a set without the rules of the ids in remove and with the rules of
// put, which replace those of the same ids. It fails as Compile does.
func (s *Set) With(put []*pb.Rule, remove []string) (*Set, error) {
	seen := make(map[string]bool, len(put))
	for _, r := range put {
		if err := Validate(r); err != nil {
			return nil, err
		}
		if seen[r.Id] {
			return nil, fmt.Errorf("rule %q: %w: id: another rule has it", r.Id, rpcerr.ErrInvalid)
		}
		seen[r.Id] = true
	}
	made := *s
	for id := range seen {
		made.take(id)
	}
	for _, id := range remove {
		if !seen[id] {
			made.take(id)
		}
	}
	if n := made.Len() + len(put); n > MaxRules {
		return nil, fmt.Errorf("rules: %w: %d are more than %d", rpcerr.ErrInvalid, n, MaxRules)
	}
	var calls, names []*pb.Rule
	for _, r := range put {
		if IsNames(r) {
			names = append(names, r)
			continue
		}
		calls = append(calls, r)
		if !r.Starting {
			made.first++
		}
	}
	made.calls, made.names = made.calls.with(calls), made.names.with(names)
	return &made, nil
}

// take takes a rule out of a set that nobody else knows yet.
func (s *Set) take(id string) {
	if l, i, ok := s.calls.find(id); ok {
		if !s.calls[l].rules[i].source.Starting {
			s.first--
		}
		s.calls = s.calls.without(l, i)
	}
	if l, i, ok := s.names.find(id); ok {
		s.names = s.names.without(l, i)
	}
}

// Get returns the rule of an id, nil if there is none.
func (s *Set) Get(id string) *pb.Rule {
	for _, in := range []levels{s.calls, s.names} {
		if l, i, ok := in.find(id); ok {
			return in[l].rules[i].source
		}
	}
	return nil
}

// All returns all rules in the order in which they decide.
func (s *Set) All() []*pb.Rule {
	all := s.calls.living(s.names.living(nil))
	slices.SortFunc(all, Compare)
	return all
}

// About returns the rules that may decide calls of a service, or who holds its
// name, in no order.
func (s *Set) About(service string) []*pb.Rule {
	return s.names.about(service, s.calls.about(service, nil))
}

// Names returns the rules about names, in no order.
func (s *Set) Names() []*pb.Rule { return s.names.living(nil) }

// Compare orders rules as they decide: higher priorities first, of equal ones
// denials first, then by id.
func Compare(a, b *pb.Rule) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), -cmp.Compare(a.Effect, b.Effect), cmp.Compare(a.Id, b.Id))
}

func orAny(names []string) []string {
	if len(names) == 0 {
		return []string{"*"}
	}
	return names
}

// Closed returns s as a part of more rules: if closed, a call that no rule
// matches is denied whatever rules there are.
func (s *Set) Closed(closed bool) *Set {
	made := *s
	made.closed = closed
	return &made
}

// IsOpen reports whether all rules about calls are starting rules.
func (s *Set) IsOpen() bool { return !s.closed && s.first == 0 }

// About reports whether a rule may decide calls of a service, or who holds its
// name.
func About(r *pb.Rule, service string) bool {
	for _, pattern := range orAny(trimNames(r.Services)) {
		if begin, ok := prefix(pattern); pattern == service || ok && strings.HasPrefix(service, begin) {
			return true
		}
	}
	return false
}

// Len returns the number of rules.
func (s *Set) Len() int { return s.calls.len() + s.names.len() }

// Decide returns the decision on a call. A call that no rule matches is allowed
// while all rules are starting rules, except at the platform's services. Decide
// takes no lock and, up to eight roles and eight scopes, no memory.
func (s *Set) Decide(c *Call) Decision {
	if r := s.calls.match(c); r != nil {
		return r.outcome
	}
	if s.IsOpen() && !strings.HasPrefix(c.Service, PlatformPrefix) {
		return Decision{Allowed: true, Reason: "there are no rules"}
	}
	return Decision{Reason: "no rule matches"}
}

// Matches reports whether any rule about calls matches the call.
func (s *Set) Matches(c *Call) bool { return s.calls.match(c) != nil }

// prefix returns what a name must begin with to fit the pattern, if it is one
// of prefixes.
func prefix(pattern string) (string, bool) { return strings.CutSuffix(pattern, "*") }
