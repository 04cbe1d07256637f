package router

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/router/internal/balance"
	pb "github.com/micro/go-platform/router/proto"
)

// Stats is what was measured of one service.
type Stats struct {
	Service   *registry.Service // called
	Client    *registry.Service // the caller, with its node
	Timestamp int64             // unix seconds of the end
	Duration  int64             // in seconds, rounded up
	Selected  []*Selected       // by node id
	Endpoints []*EndpointStats  // by name
	Limited   int64             // calls that limits here refused
}

// Selected is the calls to one node.
type Selected struct {
	Node                     *registry.Node
	Version                  string
	Success, Errors, Dropped Metrics // Errors without those that are the caller's fault
}

// EndpointStats is the calls of one endpoint.
type EndpointStats struct {
	Name                     string
	Success, Errors, Dropped Metrics
}

// outcomes are histograms by how calls ended; errors and drops are rare enough
// not to have one before the first.
type outcomes struct {
	success        histogram
	errors, failed atomic.Pointer[histogram]
}

func (o *outcomes) add(r call.Result, d time.Duration) {
	switch r {
	case call.Success:
		o.success.add(d)
	case call.Dropped:
		lazily(&o.failed).add(d)
	default:
		lazily(&o.errors).add(d)
	}
}

func lazily(p *atomic.Pointer[histogram]) *histogram {
	if h := p.Load(); h != nil {
		return h
	}
	p.CompareAndSwap(nil, &histogram{})
	return p.Load()
}

// moment is outcomes at one moment.
type moment struct{ success, errors, failed counted }

func (o *outcomes) now() (m moment) {
	m.success = o.success.now()
	if h := o.errors.Load(); h != nil {
		m.errors = h.now()
	}
	if h := o.failed.Load(); h != nil {
		m.failed = h.now()
	}
	return m
}

func (m *moment) less(old *moment) moment {
	return moment{m.success.less(&old.success), m.errors.less(&old.errors), m.failed.less(&old.failed)}
}

func (m *moment) total() int64 { return m.success.total() + m.errors.total() + m.failed.total() }

func (o *outcomes) clearHighest() {
	o.success.highest.Store(0)
	for _, p := range [...]*atomic.Pointer[histogram]{&o.errors, &o.failed} {
		if h := p.Load(); h != nil {
			h.highest.Store(0)
		}
	}
}

// windows are outcomes with the moments when the last two windows ended.
type windows struct {
	outcomes
	mu           sync.Mutex
	last, before moment
}

// turn ends a window and returns what was in it.
func (w *windows) turn() moment {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.outcomes.now()
	in := now.less(&w.last)
	w.before, w.last = w.last, now
	w.clearHighest()
	return in
}

// recent returns the last whole window and the one that runs.
func (w *windows) recent() moment {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.outcomes.now()
	return now.less(&w.before)
}

// nodeStats is what a Load carries.
type nodeStats struct{ windows }

// maxEndpoints bounds the endpoints told apart; the rest is one named other.
const maxEndpoints = 256

const otherEndpoint = "other"

// serviceStats is the endpoints of a service.
type serviceStats struct {
	endpoints atomic.Pointer[map[string]*windows]
	mu        sync.Mutex
	limited   [2]int64 // refused when the last two windows ended
}

func (s *serviceStats) init() { s.endpoints.Store(&map[string]*windows{}) }

func (s *serviceStats) endpoint(name string) *windows {
	if w := (*s.endpoints.Load())[name]; w != nil {
		return w
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := *s.endpoints.Load()
	if len(known) >= maxEndpoints || !named(name, maxName) {
		name = otherEndpoint
	}
	if w := known[name]; w != nil {
		return w
	}
	fresh := maps.Clone(known)
	fresh[name] = &windows{}
	s.endpoints.Store(&fresh)
	return fresh[name]
}

// measure counts a call for the statistics.
func (s *service) measure(method string, m *balance.Member, d time.Duration, err error) {
	r := call.Success
	if err != nil {
		r = call.Of(err)
	}
	s.stats.endpoint(method).add(r, d)
	if m == nil {
		return
	}
	if code := call.Code(err); r == call.Failure && code >= 400 && code < 500 {
		r = call.Success
	}
	m.Load.Extra.(*nodeStats).add(r, d)
}

// What router-srv takes in one report. It refuses a whole report for one that is
// beyond.
const (
	maxReported = 256 // services
	maxSelected = 1000
	maxName     = 256 // bytes
	maxNode     = 512
)

// named reports whether router-srv takes a name.
func named(name string, limit int) bool {
	return clean.Name(name, limit) && strings.TrimSpace(name) == name
}

// turn ends the window of a service and returns what is to be reported, nil
// when nothing was called. Nodes and services that router-srv does not take are left
// out.
func (s *service) turn() *pb.Stats {
	w := &pb.Stats{Service: &pb.Service{Name: s.name}}
	s.pool.Each(func(m *balance.Member) {
		in := m.Load.Extra.(*nodeStats).turn()
		if in.total() == 0 || !named(m.Node.Id, maxNode) || len(w.Selected) == maxSelected {
			return
		}
		w.Selected = append(w.Selected, &pb.Selected{
			Service: &pb.Service{Name: s.name, Version: clean.UTF8(m.Version)}, Node: &pb.Node{Id: m.Node.Id},
			Success: in.success.wire(), Errors: in.errors.wire(), Dropped: in.failed.wire(),
			Consecutive: int64(m.Load.Streak()),
		})
	})
	for name, e := range *s.stats.endpoints.Load() {
		if in := e.turn(); in.total() > 0 {
			w.EndpointStats = append(w.EndpointStats, &pb.EndpointStats{
				Name: name, Success: in.success.wire(), Errors: in.errors.wire(), Dropped: in.failed.wire(),
			})
		}
	}
	s.stats.mu.Lock()
	refused := s.limits.refused.Load()
	w.Limited = refused - s.stats.limited[0]
	s.stats.limited = [2]int64{refused, s.stats.limited[0]}
	s.stats.mu.Unlock()
	if len(w.Selected)+len(w.EndpointStats) == 0 && w.Limited == 0 || !named(s.name, maxName) {
		return nil
	}
	return w
}

// Stats implements Router.
func (p *platform) Stats() ([]*Stats, error) {
	if err := p.use(); err != nil {
		return nil, err
	}
	var all []*Stats
	for _, s := range *p.services.Load() {
		if st := s.recent(); st != nil {
			st.Client = p.caller()
			st.Timestamp = time.Now().Unix()
			st.Duration = int64((2*p.set.Interval + time.Second - 1) / time.Second)
			all = append(all, st)
		}
	}
	slices.SortFunc(all, func(a, b *Stats) int { return cmp.Compare(a.Service.Name, b.Service.Name) })
	return all, nil
}

func (s *service) recent() *Stats {
	st := &Stats{Service: &registry.Service{Name: s.name}}
	s.pool.Each(func(m *balance.Member) {
		in := m.Load.Extra.(*nodeStats).recent()
		if in.total() > 0 {
			st.Selected = append(st.Selected, &Selected{m.Node, m.Version, in.success.metrics(), in.errors.metrics(), in.failed.metrics()})
		}
	})
	for name, e := range *s.stats.endpoints.Load() {
		if in := e.recent(); in.total() > 0 {
			st.Endpoints = append(st.Endpoints, &EndpointStats{name, in.success.metrics(), in.errors.metrics(), in.failed.metrics()})
		}
	}
	s.stats.mu.Lock()
	st.Limited = s.limits.refused.Load() - s.stats.limited[1]
	s.stats.mu.Unlock()
	if len(st.Selected)+len(st.Endpoints) == 0 && st.Limited == 0 {
		return nil
	}
	slices.SortFunc(st.Selected, func(a, b *Selected) int { return cmp.Compare(a.Node.Id, b.Node.Id) })
	slices.SortFunc(st.Endpoints, func(a, b *EndpointStats) int { return cmp.Compare(a.Name, b.Name) })
	return st
}

// caller is the calling service with its node.
func (p *platform) caller() *registry.Service {
	o := p.set.Server.Options()
	return &registry.Service{Name: o.Name, Version: o.Version, Nodes: []*registry.Node{{Id: o.Name + "-" + o.Id, Address: o.Address}}}
}
