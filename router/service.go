package router

import (
	"sync"
	"sync/atomic"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/regcache"
	"github.com/micro/go-platform/router/internal/balance"
)

// service is one that is called: its nodes, limits, budget and statistics.
type service struct {
	p          *platform
	name       string
	pool       *balance.Pool
	budget     budget
	limits     limits
	stats      serviceStats
	registered atomic.Bool  // the registry knew it once
	idle       atomic.Int32 // ticks since the last call

	mu       sync.Mutex
	snapshot *regcache.Snapshot // of the registry
	answer   *answer            // of router-srv
	live     bool               // router-srv still speaks
	applied  applied
}

// applied is what the pool was made of.
type applied struct {
	snapshot *regcache.Snapshot
	answer   *answer
	live     bool
}

func newService(p *platform, name string) *service {
	s := &service{p: p, name: name, pool: balance.New(&p.balance)}
	s.budget.init(p.set.ratio(-1), p.set.RetryBurst)
	s.limits.init(p.set, name)
	s.stats.init()
	return s
}

// touch notes that the service is called. It writes once per tick at most.
func (s *service) touch() {
	if s.idle.Load() != 0 {
		s.idle.Store(0)
	}
}

func (s *service) age() int32 { return s.idle.Add(1) }

// register takes what the registry says, nil for not found.
func (s *service) register(snapshot *regcache.Snapshot) {
	s.mu.Lock()
	s.snapshot = snapshot
	s.mu.Unlock()
	if snapshot != nil {
		s.registered.Store(true)
	}
	s.refresh()
}

// told takes an answer of router-srv.
func (s *service) told(a *answer) {
	s.mu.Lock()
	s.answer, s.live = a, true
	s.mu.Unlock()
	s.refresh()
}

// cutOff notes that router-srv is gone or there again.
func (s *service) cutOff(gone bool) {
	s.mu.Lock()
	s.live = !gone
	s.mu.Unlock()
}

// refresh makes the pool anew when its sources changed.
func (s *service) refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := applied{s.snapshot, s.answer, s.live}
	if now == s.applied {
		return
	}
	s.applied = now
	var policy *balance.Policy
	if s.answer != nil {
		policy = s.answer.policy
	}
	s.pool.Update(s.candidates(), policy)
}

// candidates returns the nodes: those of router-srv while it speaks, else
// those of the registry, else the last list of router-srv for ever. A node that
// the registry marked as draining is, whatever router-srv knows.
func (s *service) candidates() []balance.Candidate {
	var from []*registry.Service
	switch {
	case s.answer != nil && s.live && !s.answer.stale && len(s.answer.services) > 0:
		from = s.answer.services
	case s.snapshot != nil:
		from = s.snapshot.Services
	case s.answer != nil:
		from = s.answer.services
	}
	draining := make(map[string]bool)
	if s.snapshot != nil {
		for _, version := range s.snapshot.Services {
			for _, n := range version.Nodes {
				if regcache.IsDraining(n) {
					draining[n.Id] = true
				}
			}
		}
	}
	var all []balance.Candidate
	for _, version := range from {
		for _, n := range version.Nodes {
			all = append(all, balance.Candidate{Node: n, Owner: version, Draining: draining[n.Id] || regcache.IsDraining(n)})
		}
	}
	return all
}
