package balance

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"go-micro.dev/v6/registry"
)

// table is a Pool at one moment. It is immutable but for the plans it makes on
// the way.
type table struct {
	candidates []*Member // not draining
	usable     []*Member // not ejected either
	byID       map[string]*Member
	out        map[*Load]string // ejected, why
	panicking  bool
	versions   []string
	near       map[string]int // candidates in the caller's zone by version, "" for all
	services   []*registry.Service
	policy     *Policy
	keyed      bool
	plain      *plan // of calls without labels
	expires    int64 // when an ejection by others ends

	mu    sync.Mutex
	plans atomic.Pointer[map[string]*plan]
}

// rebuild makes the table anew. The caller holds the mutex.
func (p *Pool) rebuild(now int64) {
	p.dirty = false
	p.table.Store(p.newTable(now))
}

func (p *Pool) newTable(now int64) *table {
	t := &table{
		candidates: p.members, policy: p.policy, keyed: p.policy.keyed(), expires: math.MaxInt64,
		byID: make(map[string]*Member, len(p.members)+len(p.draining)),
	}
	for _, members := range [...][]*Member{p.members, p.draining} {
		for _, m := range members {
			t.byID[m.Node.Id] = m
		}
	}
	if t.policy != nil {
		for _, n := range t.policy.Nodes {
			if n.Ejected > now {
				t.expires = min(t.expires, n.Ejected)
			}
		}
	}
	t.out, t.panicking = p.leftOut(t.candidates, now)
	byVersion := make(map[string]*registry.Service)
	for _, m := range t.candidates {
		if !slices.Contains(t.versions, m.Version) {
			t.versions = append(t.versions, m.Version)
		}
		t.note(m, p)
		if _, ejected := t.out[m.Load]; ejected {
			continue
		}
		t.usable = append(t.usable, m)
		s := byVersion[m.Version]
		if s == nil {
			copied := *m.owner
			s, copied.Nodes = &copied, nil
			byVersion[m.Version] = s
			t.services = append(t.services, s)
		}
		s.Nodes = append(s.Nodes, m.Node)
	}
	slices.Sort(t.versions)
	t.plain = t.newPlan(nil, nil, p)
	t.plans.Store(&map[string]*plan{})
	return t
}

// Member is a node in a table. It is immutable.
type Member struct {
	Node    *registry.Node
	Load    *Load
	Version string
	Zone    string
	Weight  float64 // 0..1

	owner *registry.Service
}

// note counts a candidate that is in the caller's zone.
func (t *table) note(m *Member, p *Pool) {
	if p.conf.Zone == "" || m.Zone != p.conf.Zone {
		return
	}
	if t.near == nil {
		t.near = make(map[string]int)
	}
	t.near[""]++
	if m.Version != "" {
		t.near[m.Version]++
	}
}

// View is a pool for a call that takes only some of its nodes.
type View struct {
	pool  *Pool
	route route
}

// Only returns the View of the nodes for which keep returns true, or nil when
// there is none.
func (p *Pool) Only(c *Call, keep func(*Member) bool) *View {
	whole := p.table.Load()
	t := &table{versions: whole.versions, policy: whole.policy, keyed: whole.keyed, usable: make([]*Member, 0, len(whole.usable))}
	for _, m := range whole.usable {
		if keep(m) {
			t.usable = append(t.usable, m)
			t.note(m, p)
		}
	}
	if len(t.usable) == 0 {
		return nil
	}
	t.candidates = t.usable
	to := t.place(c, p)
	if t.labelled(c) {
		to.plan = t.newPlan(c.Labels, t.bounds(c.Labels, to.point), p)
	} else {
		to.plan = t.newPlan(nil, nil, p)
	}
	return &View{p, to}
}
