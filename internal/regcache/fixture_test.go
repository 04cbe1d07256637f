package regcache_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/regcache"
	"github.com/micro/go-platform/internal/rpctest"
)

// moody is a registry that can be dead, forgetful, blind or slow.
type moody struct {
	*memreg.Registry
	calls atomic.Int64

	mu       sync.Mutex
	err      error
	answer   func([]*registry.Service) []*registry.Service
	watchErr error
	watchers []registry.Watcher
}

var errDead = errors.New("registry is dead")

func newMoody() *moody { return &moody{Registry: memreg.New()} }

func (m *moody) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// cut ends all watchers.
func (m *moody) cut() {
	m.set(func() {
		for _, w := range m.watchers {
			w.Stop()
		}
		m.watchers = nil
	})
}

func (m *moody) GetService(name string, opts ...registry.GetOption) ([]*registry.Service, error) {
	m.calls.Add(1)
	services, err := m.Registry.GetService(name, opts...)
	m.mu.Lock()
	answer, dead := m.answer, m.err
	m.mu.Unlock()
	if dead != nil {
		return nil, dead
	}
	if answer != nil {
		return answer(services), nil
	}
	return services, err
}

func (m *moody) ListServices(opts ...registry.ListOption) ([]*registry.Service, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return nil, m.err
	}
	return m.Registry.ListServices(opts...)
}

func (m *moody) Watch(opts ...registry.WatchOption) (registry.Watcher, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil || m.watchErr != nil {
		return nil, errors.Join(m.err, m.watchErr)
	}
	w, err := m.Registry.Watch(opts...)
	m.watchers = append(m.watchers, w)
	return w, err
}

func service(name, version string, ids ...string) *registry.Service {
	s := &registry.Service{
		Name: name, Version: version, Metadata: map[string]string{"team": "a"},
		Endpoints: []*registry.Endpoint{{
			Name: "Shop.Get", Metadata: map[string]string{"stream": "false"},
			Request: &registry.Value{Name: "Request", Type: "Request", Values: []*registry.Value{{Name: "id", Type: "string"}}},
		}},
	}
	for _, id := range ids {
		s.Nodes = append(s.Nodes, &registry.Node{Id: id, Address: "127.0.0.1:1", Metadata: map[string]string{"zone": "a"}})
	}
	return s
}

func register(t testing.TB, r registry.Registry, s *registry.Service, opts ...registry.RegisterOption) {
	t.Helper()
	if err := r.Register(s, opts...); err != nil {
		t.Fatal(err)
	}
}

func deregister(t testing.TB, r registry.Registry, s *registry.Service) {
	t.Helper()
	if err := r.Deregister(s); err != nil {
		t.Fatal(err)
	}
}

func start(t testing.TB, r registry.Registry, opts ...regcache.Option) *regcache.Cache {
	t.Helper()
	quiet := slog.New(slog.NewTextHandler(t.Output(), nil))
	c := regcache.New(r, append([]regcache.Option{regcache.Logger(quiet)}, opts...)...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func ids(c *regcache.Cache, name string) []string {
	s, err := c.Snapshot(name)
	if err != nil {
		return nil
	}
	var found []string
	for _, n := range s.Nodes {
		found = append(found, n.Id)
	}
	return found
}

func eventually(t testing.TB, c *regcache.Cache, name string, want ...string) {
	t.Helper()
	rpctest.Eventually(t, fmt.Sprint(name, " becomes ", want), func() bool { return slices.Equal(ids(c, name), want) })
}

// holds looks for a while that the nodes stay what they are, while the registry
// is asked again and again.
func holds(t testing.TB, m *moody, c *regcache.Cache, name string, want ...string) {
	t.Helper()
	for before := m.calls.Load(); m.calls.Load() < before+10; time.Sleep(time.Millisecond) {
		if got := ids(c, name); !slices.Equal(got, want) {
			t.Fatalf("nodes %v, want %v", got, want)
		}
	}
}

// settled waits until the cache has asked again since it watches.
func settled(t testing.TB, m *moody, c *regcache.Cache, name string, want ...string) {
	t.Helper()
	rpctest.Eventually(t, "a watcher", func() (ok bool) { m.set(func() { ok = len(m.watchers) > 0 }); return ok })
	holds(t, m, c, name, want...)
}

const quick = 10 * time.Millisecond
