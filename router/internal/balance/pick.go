package balance

import (
	"math"
	"sync/atomic"

	"go-micro.dev/v6/registry"
)

// Member is a node in a table. It is immutable.
type Member struct {
	Node    *registry.Node
	Load    *Load
	Version string
	Zone    string
	Weight  float64 // 0..1

	owner *registry.Service
}

// Call is what of a call decides where it may go.
type Call struct {
	Labels []Label
	Point  float64 // on the line 0..100 when Sticky, see Point
	Sticky bool
}

// Pick returns a node for the call, which may be nil, or ErrNone. Of several
// nodes one that was tried already is taken last.
func (p *Pool) Pick(c *Call, tried []*Member) (*Member, error) {
	return p.table.Load().pick(p, c, tried)
}

// View is some nodes of a pool.
type View struct {
	pool  *Pool
	table *table
}

// Only returns the nodes that take calls and that keep says yes to, nil when
// there is none.
func (p *Pool) Only(keep func(*Member) bool) *View {
	whole := p.table.Load()
	t := &table{out: whole.out, panicking: whole.panicking, versions: whole.versions, policy: whole.policy, keyed: whole.keyed}
	for _, m := range whole.usable {
		if keep(m) {
			t.usable = append(t.usable, m)
		}
	}
	if len(t.usable) == 0 {
		return nil
	}
	t.candidates = t.usable
	t.plain = t.newPlan(nil, nil, p)
	t.plans.Store(&map[string]*plan{})
	return &View{p, t}
}

// Pick is Pool.Pick among the nodes of the view.
func (v *View) Pick(c *Call, tried []*Member) (*Member, error) { return v.table.pick(v.pool, c, tried) }

func (t *table) pick(p *Pool, c *Call, tried []*Member) (*Member, error) {
	pl, point, sticky := t.plain, -1.0, false
	if c != nil {
		if sticky = c.Sticky; sticky {
			point = c.Point
		}
		if t.keyed && len(c.Labels) > 0 {
			if !c.Sticky {
				point = position(p.conf.Rand())
			}
			pl = t.planFor(c.Labels, point, p)
		}
	}
	if pl.none {
		return nil, ErrNone
	}
	line := pl.line(sticky)
	l := &line[0]
	if len(line) > 1 {
		if point < 0 {
			point = position(p.conf.Rand())
		}
		l = at(line, point)
	}
	if len(l.probes) > 0 && len(tried) == 0 {
		if m := l.probe(); m != nil {
			return m, nil
		}
	}
	m := l.pick(p)
	if len(tried) > 0 && contains(tried, m) {
		m = l.other(p, tried, m)
	}
	return m, nil
}

func contains(tried []*Member, m *Member) bool {
	for _, t := range tried {
		if t.Node.Id == m.Node.Id {
			return true
		}
	}
	return false
}

// other returns a node that was not tried, or m.
func (l *lane) other(p *Pool, tried []*Member, m *Member) *Member {
	for range 3 {
		if o := l.pick(p); !contains(tried, o) {
			return o
		}
	}
	at := int(p.conf.Rand() >> 33)
	for i := range l.all.members {
		if o := l.all.members[(at+i)%len(l.all.members)]; !contains(tried, o) {
			return o
		}
	}
	return m
}

// set is nodes to choose from.
type set struct {
	members []*Member
	alias   *alias // nil when all weights are equal
	turn    atomic.Uint64
}

func newSet(members []*Member, rand uint64) *set {
	s := &set{members: members}
	s.turn.Store(rand >> 1)
	for _, m := range members {
		if m.Weight != members[0].Weight {
			s.alias = newAlias(members)
			break
		}
	}
	return s
}

// scan is up to how many nodes LeastConnections looks at all of them.
const scan = 8

// pick chooses by the strategy. The set is not empty.
func (s *set) pick(p *Pool) *Member {
	if len(s.members) == 1 {
		return s.members[0]
	}
	switch p.conf.Strategy {
	case RoundRobin:
		return s.next()
	case Random:
		return s.members[s.sample(p.conf.Rand())]
	case LeastConnections:
		return s.least(p)
	default:
		return s.twoChoices(p)
	}
}

func (s *set) twoChoices(p *Pool) *Member {
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
	a, b := s.members[i], s.members[j]
	typical := p.typicalLatency()
	if b.Load.cost(typical) < a.Load.cost(typical) {
		return b
	}
	return a
}

func (s *set) least(p *Pool) *Member {
	if len(s.members) > scan {
		best := s.members[s.sample(p.conf.Rand())]
		for range 2 {
			if m := s.members[s.sample(p.conf.Rand())]; m.Load.connections() < best.Load.connections() {
				best = m
			}
		}
		return best
	}
	// From a random one on, so that equals take turns.
	at := int(uint32(p.conf.Rand())) % len(s.members)
	var best *Member
	least := float32(math.Inf(1))
	for range s.members {
		m := s.members[at]
		if c := m.Load.connections() / float32(m.Weight); c < least {
			best, least = m, c
		}
		if at++; at == len(s.members) {
			at = 0
		}
	}
	return best
}

// next takes turns. With unequal weights it walks them by the golden ratio, a
// sequence of low discrepancy (H. Niederreiter, 1992).
func (s *set) next() *Member {
	turn := s.turn.Add(1)
	if s.alias == nil {
		return s.members[turn%uint64(len(s.members))]
	}
	const golden = 0x9e3779b97f4a7c15 // 2^64 / φ
	return s.members[s.alias.cumulative(turn*golden)]
}

func (s *set) sample(r uint64) int {
	if s.alias != nil {
		return s.alias.sample(r)
	}
	return int((r >> 32) * uint64(len(s.members)) >> 32)
}

// alias samples by weight in constant time.
type alias struct {
	stay  []float32 // chance of staying at i
	other []int32   // where to go otherwise
	upTo  []float64 // cumulative shares
}

func newAlias(members []*Member) *alias {
	n, sum := len(members), 0.0
	for _, m := range members {
		sum += m.Weight
	}
	a := &alias{make([]float32, n), make([]int32, n), make([]float64, n)}
	scaled := make([]float64, n)
	var small, large []int
	total := 0.0
	for i, m := range members {
		total += m.Weight / sum
		a.upTo[i] = total
		scaled[i] = m.Weight / sum * float64(n)
		a.stay[i], a.other[i] = 1, int32(i)
		if scaled[i] < 1 {
			small = append(small, i)
		} else {
			large = append(large, i)
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		a.stay[s], a.other[s] = float32(scaled[s]), int32(l)
		if scaled[l] -= 1 - scaled[s]; scaled[l] < 1 {
			large, small = large[:len(large)-1], append(small, l)
		}
	}
	return a
}

func (a *alias) sample(r uint64) int {
	i := int((r >> 32) * uint64(len(a.stay)) >> 32)
	if float32(r&0xffffff)/(1<<24) < a.stay[i] {
		return i
	}
	return int(a.other[i])
}

// cumulative returns where r lies on the line of all shares.
func (a *alias) cumulative(r uint64) int {
	at := float64(r>>11) / (1 << 53)
	low, high := 0, len(a.upTo)-1
	for low < high {
		if mid := (low + high) / 2; a.upTo[mid] <= at {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}
