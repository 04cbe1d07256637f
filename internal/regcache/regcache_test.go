package regcache_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/regcache"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func TestWarmReadsAskNobody(t *testing.T) {
	m := newMoody()
	register(t, m, service("shop", "v1", "a", "b"))
	c := start(t, m, regcache.Resync(time.Hour))
	eventually(t, c, "shop", "a", "b")
	if n := testing.AllocsPerRun(1000, func() { _, _ = c.Snapshot("shop") }); n != 0 { // an error shows below
		t.Errorf("a warm snapshot allocates %v times", n)
	}
	rpctest.Eventually(t, "reads without a call of the registry", func() bool { // a resync of the first connection may be under way
		before := m.calls.Load()
		for range 1000 {
			if _, err := c.GetService("shop"); err != nil {
				t.Fatal(err)
			}
		}
		return m.calls.Load() == before
	})
}

func TestFollowsTheRegistry(t *testing.T) {
	m := newMoody()
	register(t, m, service("shop", "v1", "a"))
	c := start(t, m, regcache.Resync(time.Hour))
	eventually(t, c, "shop", "a")
	first, _ := c.Snapshot("shop") // an error shows below
	register(t, m, service("shop", "v2", "b"))
	eventually(t, c, "shop", "a", "b")
	second, _ := c.Snapshot("shop") // an error shows below
	if second.Revision <= first.Revision || second.Owners[1].Version != "v2" || len(first.Nodes) != 1 {
		t.Errorf("%+v, then %+v", first, second)
	}
	register(t, m, service("shop", "v2", "b")) // nothing new
	if again, _ := c.Snapshot("shop"); again != second {
		t.Error("a snapshot of the same content is another")
	}
	deregister(t, m, service("shop", "v1", "a"))
	eventually(t, c, "shop", "b")
	deregister(t, m, service("shop", "v2", "b"))
	eventually(t, c, "shop")
	if _, err := c.Snapshot("shop"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("nothing is left: %v", err)
	}
}

func TestUnknownServicesCostFewCalls(t *testing.T) {
	m := newMoody()
	c := start(t, m)
	for range 1000 {
		if _, err := c.GetService("shop"); !errors.Is(err, registry.ErrNotFound) {
			t.Fatal(err)
		}
	}
	if n := m.calls.Load(); n > 100 {
		t.Errorf("%d calls for 1000 look-ups", n)
	}
	register(t, m, service("shop", "v1", "a"))
	eventually(t, c, "shop", "a")
}

func TestHeldAgainstEmptyAndDeadRegistries(t *testing.T) {
	for name, mood := range map[string]func(*moody){
		"dead":  func(m *moody) { m.err = errDead },
		"empty": func(m *moody) { m.answer = func([]*registry.Service) []*registry.Service { return nil } },
		"without nodes": func(m *moody) {
			m.answer = func([]*registry.Service) []*registry.Service { return []*registry.Service{service("shop", "v1")} }
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMoody()
			register(t, m, service("shop", "v1", "a", "b"))
			c := start(t, m, regcache.Resync(quick), regcache.Poll(quick), regcache.Confirm(quick))
			eventually(t, c, "shop", "a", "b")
			settled(t, m, c, "shop", "a", "b")
			m.set(func() { mood(m) })
			m.cut()
			holds(t, m, c, "shop", "a", "b")
			if all, err := c.ListServices(); err != nil || len(all) == 0 {
				t.Errorf("list: %v, %v", all, err)
			}
			m.set(func() { m.err, m.answer = nil, nil })
			register(t, m, service("shop", "v1", "c"))
			eventually(t, c, "shop", "a", "b", "c")
		})
	}
}

func TestShrunkenAnswersNeedConfirmation(t *testing.T) {
	shrink := func(s []*registry.Service) []*registry.Service {
		s[0].Nodes = slices.DeleteFunc(s[0].Nodes, func(n *registry.Node) bool { return n.Id == "b" })
		return s
	}
	m := newMoody()
	register(t, m, service("shop", "v1", "a", "b"))
	long := start(t, m, regcache.Resync(quick), regcache.Confirm(time.Hour))
	short := start(t, m, regcache.Resync(quick), regcache.Confirm(5*quick))
	eventually(t, long, "shop", "a", "b")
	eventually(t, short, "shop", "a", "b")
	settled(t, m, long, "shop", "a", "b")
	m.set(func() { m.answer = shrink })
	eventually(t, short, "shop", "a")
	holds(t, m, long, "shop", "a", "b")
	m.set(func() { m.answer = nil })
	eventually(t, short, "shop", "a", "b")
}

// An answer that was under way when a node left does not bring it back.
func TestLateAnswersRaiseNoDead(t *testing.T) {
	m := newMoody()
	register(t, m, service("shop", "v1", "a", "b"))
	c := start(t, m, regcache.Resync(quick))
	eventually(t, c, "shop", "a", "b")
	rpctest.Eventually(t, "the registry is watched", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.watchers) > 0
	})
	old, _ := m.Registry.GetService("shop") // it is there
	m.set(func() { m.answer = func([]*registry.Service) []*registry.Service { return old } })
	deregister(t, m, service("shop", "v1", "b"))
	eventually(t, c, "shop", "a")
	holds(t, m, c, "shop", "a")
	register(t, m, service("shop", "v1", "b"))
	eventually(t, c, "shop", "a", "b")
}

func TestChangesWhileNobodyWatchedAreSeen(t *testing.T) {
	m := newMoody()
	register(t, m, service("shop", "v1", "a"))
	c := start(t, m, regcache.Resync(time.Hour), regcache.Poll(time.Hour))
	eventually(t, c, "shop", "a")
	m.set(func() { m.watchErr = errDead })
	m.cut()
	register(t, m, service("shop", "v1", "b"))
	m.set(func() { m.watchErr = nil })
	eventually(t, c, "shop", "a", "b")
}

func TestRegistriesThatCannotBeWatchedAreAsked(t *testing.T) {
	m := newMoody()
	m.watchErr = errors.New("cannot watch all services")
	register(t, m, service("shop", "v1", "a"))
	c := start(t, m, regcache.Poll(quick), regcache.Confirm(quick))
	eventually(t, c, "shop", "a")
	register(t, m, service("shop", "v1", "b"))
	eventually(t, c, "shop", "a", "b")
	deregister(t, m, service("shop", "v1", "a"))
	eventually(t, c, "shop", "b")
}

func TestDraining(t *testing.T) {
	m := newMoody()
	register(t, m, service("shop", "v1", "a", "b"))
	c := start(t, m)
	eventually(t, c, "shop", "a", "b")
	leaving := service("shop", "v1", "a")
	leaving.Nodes[0] = regcache.Drain(leaving.Nodes[0])
	register(t, m, leaving)
	eventually(t, c, "shop", "b")
	s, _ := c.Snapshot("shop") // an error shows below
	if len(s.Services[0].Nodes) != 2 || !regcache.IsDraining(s.Services[0].Nodes[0]) {
		t.Errorf("%+v", s.Services[0].Nodes)
	}
	got, err := c.GetService("shop")
	if err != nil || len(got[0].Nodes) != 1 || got[0].Nodes[0].Id != "b" {
		t.Errorf("%v, %v", got, err)
	}
	leaving.Nodes[0] = regcache.Drain(service("shop", "v1", "b").Nodes[0])
	register(t, m, leaving)
	eventually(t, c, "shop")
	if _, err := c.GetService("shop"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("all nodes drain: %v", err)
	}
}

func TestCallersMayChangeCopies(t *testing.T) {
	m := newMoody()
	register(t, m, service("shop", "v1", "a"))
	c := start(t, m)
	for range 2 {
		got, err := c.GetService("shop")
		if err != nil {
			t.Fatal(err)
		}
		s := got[0]
		if s.Nodes[0].Metadata["zone"] != "a" || s.Metadata["team"] != "a" || s.Endpoints[0].Metadata["stream"] != "false" {
			t.Fatalf("a caller changed the record: %+v", s)
		}
		s.Nodes[0].Metadata["zone"], s.Metadata["team"] = "x", "x"
		s.Endpoints[0].Metadata["stream"], s.Endpoints[0].Name = "x", "x"
		s.Nodes[0].Address, s.Nodes = "x", nil
	}
}

func TestSnapshotFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registry.json")
	m := newMoody()
	register(t, m, service("shop", "v1", "a"))
	register(t, m, service("bank", "v1", "b"))
	c := start(t, m, regcache.File(path))
	eventually(t, c, "shop", "a")
	eventually(t, c, "bank", "b")
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	dead := newMoody()
	dead.err = errDead
	booted := start(t, dead, regcache.File(path), regcache.Poll(quick))
	eventually(t, booted, "shop", "a")
	holds(t, dead, booted, "bank", "b")
	for _, text := range []string{"", "{", "[null]", `[{"name":"x","nodes":[null]}]`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if bad := start(t, newMoody(), regcache.File(path)); ids(bad, "shop") != nil {
			t.Errorf("%q was read", text)
		}
	}
}

func TestGoroutinesDoNotGrow(t *testing.T) {
	m := newMoody()
	for i := range 1000 {
		register(t, m, service(fmt.Sprint("shop", i), "v1", "a"))
	}
	before := runtime.NumGoroutine()
	c := start(t, m)
	for i := range 1000 {
		eventually(t, c, fmt.Sprint("shop", i), "a")
	}
	rpctest.Eventually(t, "at most three goroutines are left", func() bool { return runtime.NumGoroutine()-before <= 3 })
}

func TestColdReadsAreOne(t *testing.T) {
	m := newMoody()
	register(t, m, service("shop", "v1", "a"))
	ready, asked := make(chan struct{}), make(chan struct{}, 100)
	m.answer = func(s []*registry.Service) []*registry.Service { asked <- struct{}{}; <-ready; return s }
	c := start(t, m, regcache.Resync(time.Hour))
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if s, err := c.Snapshot("shop"); err != nil || len(s.Nodes) != 1 {
				t.Error(s, err)
			}
		})
	}
	<-asked
	close(ready)
	wg.Wait()
	if n := m.calls.Load(); n > 4 {
		t.Errorf("%d calls for 50 readers", n)
	}
}

func TestWithoutStart(t *testing.T) {
	m := newMoody()
	c := regcache.New(m)
	register(t, m, service("shop", "v1", "a"))
	if got := ids(c, "shop"); !slices.Equal(got, []string{"a"}) {
		t.Fatal(got)
	}
	register(t, m, service("shop", "v1", "b"))
	deregister(t, m, service("shop", "v1", "a"))
	if got := ids(c, "shop"); !slices.Equal(got, []string{"b"}) {
		t.Fatal(got)
	}
	m.err = errDead
	if got := ids(c, "shop"); !slices.Equal(got, []string{"b"}) {
		t.Fatal(got)
	}
	if _, err := c.Snapshot("bank"); !errors.Is(err, errDead) {
		t.Error(err)
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	if err := c.Start(); err == nil {
		t.Error("started after Stop")
	}
}

func TestBadOptions(t *testing.T) {
	for _, d := range []time.Duration{-1, 0, time.Millisecond} {
		if err := regcache.New(newMoody(), regcache.Confirm(d)).Start(); err == nil {
			t.Errorf("Confirm %v was taken", d)
		}
	}
}

// Readers, events, answers and restarts of the watcher at once, for the race
// detector; what is left at the end is what the registry says.
func TestChurn(t *testing.T) {
	m := newMoody()
	register(t, m, service("shop", "v1", "a"))
	c := start(t, m, regcache.Resync(quick), regcache.Confirm(quick))
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 100 {
				s := service("shop", fmt.Sprint("v", i), fmt.Sprint("n", i))
				if j%2 == 0 {
					register(t, m, s)
				} else {
					deregister(t, m, s)
				}
				_ = ids(c, "shop")
				if got, err := c.GetService("shop"); err == nil {
					got[0].Metadata["team"] = "x"
				}
				if i == 0 && j%20 == 0 {
					m.cut()
				}
			}
		})
	}
	wg.Wait()
	eventually(t, c, "shop", "a")
}

func BenchmarkSnapshot(b *testing.B) {
	m := newMoody()
	register(b, m, service("shop", "v1", "a", "b", "c"))
	c := start(b, m)
	eventually(b, c, "shop", "a", "b", "c")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Snapshot("shop"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
