package policy

import (
	"fmt"
	"math/bits"
	"slices"

	pb "github.com/micro/go-platform/auth/proto"
)

// index is some rules in the order in which they decide and, for each name that
// they mention, which rules that are: blocks of 64 rules as bits. A decision
// unites these for what the call says of itself, intersects the four questions
// (who, service, method, scopes) block by block and takes the first bit left.
type index struct {
	rules    []rule
	at       map[string]int // by id
	services patterns
	methods  patterns
	accounts patterns
	roles    map[string]list
	scopes   map[string]list // by the first that a rule needs
	unscoped list
}

type rule struct {
	source  *pb.Rule
	outcome Decision
}

func newIndex(rules []*pb.Rule) *index {
	x := &index{
		rules: make([]rule, 0, len(rules)), at: make(map[string]int, len(rules)),
		services: newPatterns(), methods: newPatterns(), accounts: newPatterns(),
		roles: map[string]list{}, scopes: map[string]list{},
	}
	for _, r := range slices.SortedFunc(slices.Values(rules), Compare) {
		x.add(r)
	}
	x.services.link()
	x.methods.link()
	x.accounts.link()
	return x
}

func (x *index) add(r *pb.Rule) {
	i, allow := len(x.rules), r.Effect == Allow
	verb := "denied"
	if allow {
		verb = "allowed"
	}
	x.rules = append(x.rules, rule{r, Decision{Allowed: allow, Rule: r.Id, Reason: fmt.Sprintf("%s by rule %q", verb, r.Id)}})
	x.at[r.Id] = i
	x.services.add(i, orAny(trimNames(r.Services)))
	x.methods.add(i, orAny(r.Methods))
	if len(r.Accounts)+len(r.Roles) == 0 {
		x.accounts.add(i, orAny(nil))
	}
	x.accounts.add(i, r.Accounts)
	for _, role := range r.Roles {
		x.roles[role] = x.roles[role].with(i)
	}
	if len(r.Scopes) == 0 {
		x.unscoped = x.unscoped.with(i)
	} else {
		x.scopes[r.Scopes[0]] = x.scopes[r.Scopes[0]].with(i)
	}
}

// level is an index without the rules that were taken out since it was made.
type level struct {
	*index
	gone []uint64 // rule i is bit i%64 of gone[i/64]; nil while there are none
	left int
}

func newLevel(rules []*pb.Rule) level { return level{index: newIndex(rules), left: len(rules)} }

func (l *level) lacks(i int) bool { return l.gone != nil && l.gone[i/64]>>(i%64)&1 != 0 }

// match returns the first rule that matches, or nil.
func (l *level) match(c *Call) *rule {
	var services, methods, who, scopes [10]cursor
	sv := l.services.find(services[:0], c.Service)
	me := l.methods.find(methods[:0], c.Method)
	wh := l.accounts.find(who[:0], c.Account)
	for _, role := range c.Roles {
		wh = push(wh, l.roles[role])
	}
	sc := push(scopes[:0], l.unscoped)
	if len(l.scopes) > 0 {
		for _, scope := range c.Scopes {
			sc = push(sc, l.scopes[scope])
		}
	}
	// Who calls is the question that leaves the fewest rules.
	for block, more := first(wh, 0); more; block, more = first(wh, block+1) {
		found := unite(wh, block) & unite(me, block)
		if l.gone != nil {
			found &^= l.gone[block]
		}
		if found == 0 {
			continue
		}
		for found &= unite(sv, block) & unite(sc, block); found != 0; found &= found - 1 {
			if r := &l.rules[int(block)*64+bits.TrailingZeros64(found)]; r.held(c.Scopes) {
				return r
			}
		}
	}
	return nil
}

// held reports whether scopes has all that the rule needs.
func (r *rule) held(scopes []string) bool {
	for _, s := range r.source.Scopes {
		if !slices.Contains(scopes, s) {
			return false
		}
	}
	return true
}

// about appends the rules about a service.
func (l *level) about(service string, to []*pb.Rule) []*pb.Rule {
	cursors := l.services.find(nil, service)
	for block, more := first(cursors, 0); more; block, more = first(cursors, block+1) {
		found := unite(cursors, block)
		if l.gone != nil {
			found &^= l.gone[block]
		}
		for ; found != 0; found &= found - 1 {
			to = append(to, l.rules[int(block)*64+bits.TrailingZeros64(found)].source)
		}
	}
	return to
}

// levels holds rules in indexes, of which each is many times as large as the
// next: a new rule has the small ones made anew and seldom the large ones, as in
// a log-structured merge tree.
type levels []level

// ratio is how many times as large as the next a level is at least, when it is
// made. A rule is indexed anew at most about ratio times in each level.
const ratio = 8

// with returns ls with more rules. Their ids must be new.
func (ls levels) with(rules []*pb.Rule) levels {
	if len(rules) == 0 {
		return ls
	}
	pool, n := slices.Clone(rules), len(ls)
	for ; n > 0 && ls[n-1].left < ratio*len(pool); n-- {
		pool = ls[n-1].living(pool)
	}
	return append(slices.Clone(ls[:n]), newLevel(pool))
}

// without returns ls without rule i of level l.
func (ls levels) without(l, i int) levels {
	made := slices.Clone(ls)
	it := &made[l]
	if it.gone == nil {
		it.gone = make([]uint64, (len(it.rules)+63)/64)
	} else {
		it.gone = slices.Clone(it.gone)
	}
	it.gone[i/64] |= 1 << (i % 64)
	it.left--
	switch {
	case it.left == 0:
		return slices.Delete(made, l, l+1)
	case it.left*2 < len(it.rules):
		*it = newLevel(it.living(nil))
	}
	return made
}

// find returns where the rule of an id is.
func (ls levels) find(id string) (l, i int, found bool) {
	for l := range ls {
		if i, ok := ls[l].at[id]; ok && !ls[l].lacks(i) {
			return l, i, true
		}
	}
	return 0, 0, false
}

func (ls levels) match(c *Call) (best *rule) {
	for i := range ls {
		if r := ls[i].match(c); r != nil && (best == nil || Compare(r.source, best.source) < 0) {
			best = r
		}
	}
	return best
}

func (ls levels) about(service string, to []*pb.Rule) []*pb.Rule {
	for i := range ls {
		to = ls[i].about(service, to)
	}
	return to
}

// living appends the rules of a level.
func (l *level) living(to []*pb.Rule) []*pb.Rule {
	for i := range l.rules {
		if !l.lacks(i) {
			to = append(to, l.rules[i].source)
		}
	}
	return to
}

func (ls levels) living(to []*pb.Rule) []*pb.Rule {
	for i := range ls {
		to = ls[i].living(to)
	}
	return to
}

func (ls levels) len() (n int) {
	for i := range ls {
		n += ls[i].left
	}
	return n
}
