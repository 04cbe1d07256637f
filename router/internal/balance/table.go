package balance

import (
	"maps"
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

// maxPlans bounds the plans a table keeps: as many combinations of labels.
const maxPlans = 256

// planFor returns the plan of calls with these labels.
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

// signature is what of the labels makes a difference: the rules that apply and
// the label rules that bind, with the values of those that take any.
func (t *table) signature(key []byte, labels []Label, point float64) []byte {
	for i := range t.policy.Rules {
		r := &t.policy.Rules[i]
		if r.Key == "" {
			continue
		}
		if _, ok := applies(r.Key, r.Value, labels); ok {
			key = append(key, 'r', byte(i), byte(i>>8))
		}
	}
	for _, l := range labels {
		for i := len(t.policy.Labels) - 1; i >= 0; i-- {
			r := &t.policy.Labels[i]
			if r.Key != l.Key || r.Value != "" && r.Value != l.Value {
				continue
			}
			if point < float64(r.Weight) {
				key = append(key, 'l', byte(i), byte(i>>8))
				if r.Value == "" {
					key = append(append(key, l.Value...), 0)
				}
			}
			break
		}
	}
	return key
}
