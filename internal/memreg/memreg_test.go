package memreg_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/leak"
	"github.com/micro/go-platform/internal/memreg"
	"go-micro.dev/v6/registry"
)

func TestMain(m *testing.M) { leak.Main(m) }

func svc(version string, nodes ...*registry.Node) *registry.Service {
	return &registry.Service{Name: "shop", Version: version, Nodes: nodes}
}

func node(id, address string) *registry.Node {
	return &registry.Node{Id: id, Address: address, Metadata: map[string]string{"zone": "a"}}
}

func register(t *testing.T, r registry.Registry, s *registry.Service, ttl time.Duration) {
	t.Helper()
	if err := r.Register(s, registry.RegisterTTL(ttl)); err != nil {
		t.Fatal(err)
	}
}

func TestRecordsAreCopies(t *testing.T) {
	r := memreg.New()
	n := node("1", "127.0.0.1:1")
	register(t, r, svc("v1", n), 0)
	n.Address, n.Metadata["zone"] = "stolen", "stolen"
	got, err := r.GetService("shop")
	if err != nil {
		t.Fatal(err)
	}
	got[0].Nodes[0].Metadata["zone"] = "stolen"
	again, err := r.GetService("shop")
	if err != nil {
		t.Fatal(err)
	}
	if again[0].Nodes[0].Address != "127.0.0.1:1" || again[0].Nodes[0].Metadata["zone"] != "a" {
		t.Fatalf("a caller changed the record: %+v", again[0].Nodes[0])
	}
}

func watch(t *testing.T, r *memreg.Registry) registry.Watcher {
	t.Helper()
	w, err := r.Watch()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestNewDataForAKnownNode(t *testing.T) {
	r := memreg.New()
	register(t, r, svc("v1", node("1", "127.0.0.1:1")), 0)
	register(t, r, svc("v1", node("1", "127.0.0.1:2")), 0)
	got, err := r.GetService("shop")
	if err != nil {
		t.Fatal(err)
	}
	if len(got[0].Nodes) != 1 || got[0].Nodes[0].Address != "127.0.0.1:2" {
		t.Fatalf("got %+v", got[0].Nodes[0])
	}
}

func TestLeasesExpireWithAnEvent(t *testing.T) {
	r := memreg.New()
	w, err := r.Watch(registry.WatchService("shop"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	register(t, r, svc("v1", node("1", "127.0.0.1:1")), 20*time.Millisecond)
	for _, want := range []string{"create", "delete"} {
		event, err := w.Next()
		if err != nil || event.Action != want {
			t.Fatalf("got %+v, %v, want %s", event, err, want)
		}
	}
	if _, err := r.GetService("shop"); !errors.Is(err, registry.ErrNotFound) {
		t.Fatalf("after expiry: %v, want ErrNotFound", err)
	}
}

func TestARenewedLeaseStays(t *testing.T) {
	r := memreg.New()
	register(t, r, svc("v1", node("1", "127.0.0.1:1")), time.Millisecond)
	register(t, r, svc("v1", node("1", "127.0.0.1:1")), time.Hour)
	w := watch(t, r)
	defer w.Stop()
	register(t, r, svc("v2", node("2", "127.0.0.1:2")), time.Millisecond)
	for range 2 { // v2 comes and goes, later than v1's first lease
		if _, err := w.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := r.GetService("shop"); err != nil || len(got) != 1 || got[0].Version != "v1" {
		t.Fatalf("got %+v, %v", got, err)
	}
	if err := r.Deregister(svc("v1", node("1", ""))); err != nil {
		t.Error(err)
	}
}

func TestASlowWatcherLosesNothing(t *testing.T) {
	r := memreg.New()
	w := watch(t, r)
	const n = 500
	for i := range n {
		register(t, r, svc("v1", node(fmt.Sprint(i), "127.0.0.1:1")), 0)
	}
	for i := range n {
		event, err := w.Next()
		if err != nil || event.Service.Nodes[0].Id != fmt.Sprint(i) {
			t.Fatalf("event %d: %+v, %v", i, event, err)
		}
	}
	w.Stop()
	w.Stop()
	if _, err := w.Next(); !errors.Is(err, registry.ErrWatcherStopped) {
		t.Fatalf("Next after Stop: %v", err)
	}
}

func TestAWatcherNobodyReadsIsStopped(t *testing.T) {
	r := memreg.New()
	w := watch(t, r)
	for i := range 10001 {
		register(t, r, svc("v1", node("1", fmt.Sprint(i))), 0)
	}
	var err error
	for err == nil {
		_, err = w.Next()
	}
	if !errors.Is(err, registry.ErrWatcherStopped) {
		t.Fatal(err)
	}
}
