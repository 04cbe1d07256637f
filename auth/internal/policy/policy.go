// Package policy decides who may call what. auth-srv and the services that
// follow it share it, so that a dry run and the real thing cannot differ. What
// a rule means is said at Rule in auth.proto.
package policy

import (
	"cmp"
	"fmt"
	"math/bits"
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

// Set is an immutable set of rules, safe for concurrent use.
//
// It holds the rules in the order in which they decide and, for each name that
// rules mention, which rules that are: blocks of 64 rules as bits. A decision
// unites these for what the call says of itself, intersects the four questions
// (who, service, method, scopes) block by block and takes the first bit left.
type Set struct {
	rules    []rule
	services patterns
	methods  patterns
	accounts patterns
	roles    map[string]list
	scopes   map[string]list // by the first that a rule needs
	unscoped list
	names    *Set // of the rules about names; nil if there are none
	open     bool // there are none but starting rules
}

type rule struct {
	id      string
	allow   bool
	scopes  []string
	outcome Decision
}

// Compile makes a Set of rules, in any order. It fails on a rule that Validate
// refuses, on two with the same id and on more than MaxRules.
func Compile(rules []*pb.Rule) (*Set, error) {
	if len(rules) > MaxRules {
		return nil, fmt.Errorf("rules: %w: %d are more than %d", rpcerr.ErrInvalid, len(rules), MaxRules)
	}
	seen := make(map[string]bool, len(rules))
	for _, r := range rules {
		if err := Validate(r); err != nil {
			return nil, err
		}
		if seen[r.Id] {
			return nil, fmt.Errorf("rule %q: %w: id: another rule has it", r.Id, rpcerr.ErrInvalid)
		}
		seen[r.Id] = true
	}
	s, names := newSet(), newSet()
	s.open = true
	for _, r := range slices.SortedFunc(slices.Values(rules), Compare) {
		if IsNames(r) {
			names.add(r)
		} else {
			s.add(r)
			s.open = s.open && r.Starting
		}
	}
	s.link()
	if len(names.rules) > 0 {
		names.link()
		s.names = names
	}
	return s, nil
}

func newSet() *Set {
	return &Set{
		services: newPatterns(), methods: newPatterns(), accounts: newPatterns(),
		roles: map[string]list{}, scopes: map[string]list{},
	}
}

func (s *Set) link() {
	s.services.link()
	s.methods.link()
	s.accounts.link()
}

// Compare orders rules as they decide: higher priorities first, of equal ones
// denials first, then by id.
func Compare(a, b *pb.Rule) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), -cmp.Compare(a.Effect, b.Effect), cmp.Compare(a.Id, b.Id))
}

func (s *Set) add(r *pb.Rule) {
	i, allow := len(s.rules), r.Effect == Allow
	verb := "denied"
	if allow {
		verb = "allowed"
	}
	s.rules = append(s.rules, rule{
		id: r.Id, allow: allow, scopes: slices.Clone(r.Scopes),
		outcome: Decision{Allowed: allow, Rule: r.Id, Reason: fmt.Sprintf("%s by rule %q", verb, r.Id)},
	})
	s.services.add(i, orAny(trimNames(r.Services)))
	s.methods.add(i, orAny(r.Methods))
	if len(r.Accounts)+len(r.Roles) == 0 {
		s.accounts.add(i, orAny(nil))
	}
	s.accounts.add(i, r.Accounts)
	for _, role := range r.Roles {
		s.roles[role] = s.roles[role].with(i)
	}
	if len(r.Scopes) == 0 {
		s.unscoped = s.unscoped.with(i)
	} else {
		s.scopes[r.Scopes[0]] = s.scopes[r.Scopes[0]].with(i)
	}
}

func orAny(names []string) []string {
	if len(names) == 0 {
		return []string{"*"}
	}
	return names
}

// Closed returns s as a part of more rules: a call that no rule matches is
// denied.
func (s *Set) Closed() *Set {
	closed := *s
	closed.open = false
	return &closed
}

// IsOpen reports whether all rules are starting rules.
func (s *Set) IsOpen() bool { return s.open }

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

// Len returns the number of rules about calls.
func (s *Set) Len() int { return len(s.rules) }

// Decide returns the decision on a call. A call that no rule matches is allowed
// while all rules are starting rules, except at the platform's services. Decide
// takes no lock and, up to eight roles and eight scopes, no memory.
func (s *Set) Decide(c *Call) Decision {
	d := Decision{Reason: noMatch}
	if len(s.rules) > 0 {
		d = s.match(c)
	}
	if d.Rule == "" && s.open && !strings.HasPrefix(c.Service, PlatformPrefix) {
		return Decision{Allowed: true, Reason: "there are no rules"}
	}
	return d
}

const noMatch = "no rule matches"

// match returns the decision of the first rule that matches.
func (s *Set) match(c *Call) Decision {
	var services, methods, who, scopes [10]cursor
	sv := s.services.find(services[:0], c.Service)
	me := s.methods.find(methods[:0], c.Method)
	wh := s.accounts.find(who[:0], c.Account)
	for _, role := range c.Roles {
		wh = push(wh, s.roles[role])
	}
	sc := push(scopes[:0], s.unscoped)
	if len(s.scopes) > 0 {
		for _, scope := range c.Scopes {
			sc = push(sc, s.scopes[scope])
		}
	}
	// Who calls is the question that leaves the fewest rules.
	for block, more := first(wh, 0); more; block, more = first(wh, block+1) {
		found := unite(wh, block) & unite(me, block)
		if found == 0 {
			continue
		}
		for found &= unite(sv, block) & unite(sc, block); found != 0; found &= found - 1 {
			if r := &s.rules[int(block)*64+bits.TrailingZeros64(found)]; r.held(c.Scopes) {
				return r.outcome
			}
		}
	}
	return Decision{Reason: noMatch}
}

// held reports whether scopes has all that the rule needs.
func (r *rule) held(scopes []string) bool {
	for _, s := range r.scopes {
		if !slices.Contains(scopes, s) {
			return false
		}
	}
	return true
}

// prefix returns what a name must begin with to fit the pattern, if it is one
// of prefixes.
func prefix(pattern string) (string, bool) { return strings.CutSuffix(pattern, "*") }
