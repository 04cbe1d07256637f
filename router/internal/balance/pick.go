package balance

import (
	"maps"
	"math"
)

// Call is what of a call decides where it may go.
type Call struct {
	Labels []Label
	Point  float64 // on the line 0..100 when Sticky, see Point
	Sticky bool
}

// Pick returns a node for the call, which may be nil, or ErrNone. Of several
// nodes one that was tried already is taken last.
func (p *Pool) Pick(c *Call, tried []*Member) (*Member, error) {
	to := p.table.Load().route(c, p)
	return to.pick(p, tried)
}

// Pick is Pool.Pick for the call and the nodes of the view.
func (v *View) Pick(tried []*Member) (*Member, error) { return v.route.pick(v.pool, tried) }

// route is the plan of a call and the call's place in it.
type route struct {
	plan   *plan
	point  float64 // on the line; negative: any
	sticky bool
}

func (t *table) route(c *Call, p *Pool) route {
	if c == nil {
		return route{plan: t.plain, point: -1}
	}
	return t.routeOf(c, p)
}

func (t *table) routeOf(c *Call, p *Pool) route {
	to := t.place(c, p)
	to.plan = t.plain
	if t.labelled(c) {
		to.plan = t.planFor(c.Labels, to.point, p)
	}
	return to
}

// place is a route that still lacks its plan.
func (t *table) place(c *Call, p *Pool) route {
	switch {
	case c != nil && c.Sticky:
		return route{point: c.Point, sticky: true}
	case t.labelled(c):
		return route{point: position(p.conf.Rand())}
	}
	return route{point: -1}
}

// labelled reports whether the labels of a call may make a difference.
func (t *table) labelled(c *Call) bool { return t.keyed && c != nil && len(c.Labels) > 0 }

func (r *route) pick(p *Pool, tried []*Member) (*Member, error) {
	if r.plan.none {
		return nil, ErrNone
	}
	l := r.lane(p)
	if len(tried) > 0 {
		if m := l.pick(p, tried); m != nil {
			return m, nil
		}
	} else if m := l.probe(); m != nil {
		return m, nil
	}
	return l.pick(p, nil), nil
}

// lane returns the lane that takes the call.
func (r *route) lane(p *Pool) *lane {
	line := r.plan.line(r.sticky)
	if len(line) == 1 {
		return &line[0]
	}
	return r.along(line, p)
}

// along returns the lane of the route's point, or of any.
func (r *route) along(line []lane, p *Pool) *lane {
	point := r.point
	if point < 0 {
		point = position(p.conf.Rand())
	}
	for i := range line[:len(line)-1] {
		if point < line[i].upTo {
			return &line[i]
		}
	}
	return &line[len(line)-1]
}

// maxPlans bounds the plans a table keeps: as many combinations of labels.
const maxPlans = 256

// planFor returns the plan of calls with these labels, which the first such call
// makes.
func (t *table) planFor(labels []Label, point float64, p *Pool) *plan {
	var buf [256]byte
	key := t.signature(buf[:0], labels, point)
	if len(key) == 0 {
		return t.plain
	}
	if pl := (*t.plans.Load())[string(key)]; pl != nil {
		return pl
	}
	pl := t.newPlan(labels, t.bounds(labels, point), p)
	t.mu.Lock()
	defer t.mu.Unlock()
	if known := *t.plans.Load(); len(known) < maxPlans {
		fresh := maps.Clone(known)
		fresh[string(key)] = pl
		t.plans.Store(&fresh)
	}
	return pl
}

// signature appends to key what of the labels makes a difference: the rules
// that apply and the label rules that bind, with the values of those that take
// any.
func (t *table) signature(key []byte, labels []Label, point float64) []byte {
	for i := range t.policy.Rules {
		if r := &t.policy.Rules[i]; r.Key != "" && r.applies(labels) {
			key = append(key, 'r', byte(i), byte(i>>8))
		}
	}
	for _, l := range labels {
		i := t.policy.binding(l, point)
		if i < 0 {
			continue
		}
		key = append(key, 'l', byte(i), byte(i>>8))
		if t.policy.Labels[i].Value == "" {
			key = append(append(key, l.Value...), 0)
		}
	}
	return key
}

// line returns the lanes of a call.
func (pl *plan) line(sticky bool) []lane {
	if sticky && pl.sticky != nil {
		return pl.sticky
	}
	return pl.lanes
}

// probe returns a half-open node that no other call probes, or nil.
func (l *lane) probe() *Member {
	for _, m := range l.probes {
		if m.Load.probing.CompareAndSwap(0, 1) {
			return m
		}
	}
	return nil
}

// zoneFactor is how much worse than a remote node a local one must look before
// a call leaves the zone.
const zoneFactor = 3

// pick returns a node that was not tried, or nil when all were.
func (l *lane) pick(p *Pool, tried []*Member) *Member {
	if l.local == nil {
		return l.all.pick(p, tried)
	}
	near := l.local.pick(p, tried)
	if near == nil {
		return l.remote.pick(p, tried)
	}
	if p.conf.Strategy == RoundRobin || p.conf.Strategy == Random {
		return near
	}
	far := l.remote.from(l.remote.sample(p.conf.Rand()), tried)
	if far == nil {
		return near
	}
	if p.conf.Strategy == LeastConnections {
		if far.Load.connections()*zoneFactor < near.Load.connections() {
			return far
		}
	} else if typical := p.typicalLatency(); far.Load.cost(typical)*zoneFactor < near.Load.cost(typical) {
		return far
	}
	return near
}

// pick chooses by the strategy among the nodes that were not tried. It returns
// nil when all were.
func (s *set) pick(p *Pool, tried []*Member) *Member {
	if len(s.members) == 1 {
		return s.from(0, tried)
	}
	switch p.conf.Strategy {
	case RoundRobin:
		return s.from(s.next(), tried)
	case Random:
		return s.from(s.sample(p.conf.Rand()), tried)
	case LeastConnections:
		if len(s.members) > scan {
			return s.leastOfThree(p, tried)
		}
		return s.least(p, tried)
	default:
		return s.twoChoices(p, tried)
	}
}

// from returns the first node from place i on that was not tried, or nil.
func (s *set) from(i int, tried []*Member) *Member {
	if len(tried) == 0 {
		return s.members[i]
	}
	return s.untried(i, tried)
}

func (s *set) untried(i int, tried []*Member) *Member {
	for range s.members {
		if m := s.members[i]; !contains(tried, m) {
			return m
		}
		if i++; i == len(s.members) {
			i = 0
		}
	}
	return nil
}

func contains(tried []*Member, m *Member) bool {
	for _, t := range tried {
		if t.Node.Id == m.Node.Id {
			return true
		}
	}
	return false
}

func (s *set) twoChoices(p *Pool, tried []*Member) *Member {
	r := p.conf.Rand()
	var i, j int
	if s.alias == nil {
		n := uint64(len(s.members))
		i = int(uint64(uint32(r)) * n >> 32)
		if j = int((r >> 32) * (n - 1) >> 32); j >= i {
			j++
		}
	} else {
		i, j = s.alias.sample(r), s.alias.sample(p.conf.Rand())
	}
	a, b := s.from(i, tried), s.from(j, tried)
	if a == nil {
		return nil
	}
	typical := p.typicalLatency()
	if b.Load.cost(typical) < a.Load.cost(typical) {
		return b
	}
	return a
}

// scan is the number of nodes up to which LeastConnections looks at all of
// them.
const scan = 8

// least looks at all nodes, from a random one on so that equals take turns.
func (s *set) least(p *Pool, tried []*Member) *Member {
	at := int(uint32(p.conf.Rand())) % len(s.members)
	var best *Member
	least := float32(math.Inf(1))
	for range s.members {
		m := s.members[at]
		if c := m.Load.connections() / float32(m.Weight); c < least && !contains(tried, m) {
			best, least = m, c
		}
		if at++; at == len(s.members) {
			at = 0
		}
	}
	return best
}

func (s *set) leastOfThree(p *Pool, tried []*Member) *Member {
	best := s.from(s.sample(p.conf.Rand()), tried)
	for range 2 {
		if m := s.from(s.sample(p.conf.Rand()), tried); m != nil && m.Load.connections() < best.Load.connections() {
			best = m
		}
	}
	return best
}

// next takes turns. With unequal weights it walks them by the golden ratio, a
// sequence of low discrepancy (H. Niederreiter, 1992).
func (s *set) next() int {
	turn := s.turn.Add(1)
	if s.alias == nil {
		return int(turn % uint64(len(s.members)))
	}
	const golden = 0x9e3779b97f4a7c15 // 2^64 / φ
	return s.alias.cumulative(turn * golden)
}

// sample returns an index, drawn by weight.
func (s *set) sample(r uint64) int {
	if s.alias != nil {
		return s.alias.sample(r)
	}
	return int((r >> 32) * uint64(len(s.members)) >> 32)
}
