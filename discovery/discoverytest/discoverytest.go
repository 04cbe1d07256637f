// Package discoverytest is the suite that every discovery passes, whatever it
// runs on.
package discoverytest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/discovery"
)

// Interval is that of the plugins under test. A busy machine that stalls them for
// some seconds ends no lease of five.
const Interval = time.Second

// World is one registry that several processes use.
type World struct {
	// New makes the plugin of a process of its own, with the options added to
	// its own. The suite starts and stops it.
	New func(t *testing.T, opts ...discovery.Option) discovery.Discovery
	// Kill and Restart end the registry as a crash would and bring it back, for
	// RunLeases.
	Kill, Restart func(t *testing.T)
}

// Run checks that a discovery is a go-micro registry. Each subtest has a world
// of its own services.
func Run(t *testing.T, world World) {
	for name, test := range map[string]func(*testing.T, World){
		"Register": testRegister, "Versions": testVersions, "Metadata": testMetadata, "Endpoints": testEndpoints,
		"List": testList, "Watch": testWatch, "Copies": testCopies, "Unknown": testUnknown, "Bad": testBad,
		"Again": testAgain, "Concurrent": testConcurrent,
	} {
		t.Run(name, func(t *testing.T) { test(t, world) })
	}
}

// start makes and starts the plugin of one process.
func start(t *testing.T, w World, opts ...discovery.Option) discovery.Discovery {
	t.Helper()
	d := w.New(t, append([]discovery.Option{discovery.Interval(Interval)}, opts...)...)
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// name is a service that no other subtest uses.
func name(t *testing.T) string {
	return strings.ToLower(strings.NewReplacer("/", "-", "_", "-", "#", "-").Replace(t.Name()))
}

func service(t *testing.T, version string, ids ...string) *registry.Service {
	s := &registry.Service{Name: name(t), Version: version}
	for i, id := range ids {
		s.Nodes = append(s.Nodes, &registry.Node{
			Id: name(t) + "-" + id, Address: fmt.Sprintf("127.0.0.1:%d", 1001+i),
			Metadata: map[string]string{"zone": "north", "protocol": "grpc"},
		})
	}
	return s
}

func register(t *testing.T, r registry.Registry, s *registry.Service) {
	t.Helper()
	patiently(t, func() error { return r.Register(s, registry.RegisterTTL(time.Minute)) })
}

func deregister(t *testing.T, r registry.Registry, s *registry.Service) {
	t.Helper()
	patiently(t, func() error { return r.Deregister(s) })
}

// patiently calls f again when it ran into its deadline: on a machine that
// stalled for as long that says nothing.
func patiently(t *testing.T, f func() error) {
	t.Helper()
	var err error
	for range 20 {
		if err = f(); !errors.Is(err, context.DeadlineExceeded) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	eventuallySaying(t, func() string { return what }, holds)
}

func eventuallySaying(t *testing.T, what func() string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what())
		}
	}
}

// seen waits until the plugin finds exactly these nodes, "version:id".
func seen(t *testing.T, d registry.Registry, service string, want ...string) {
	t.Helper()
	var got []string
	last := func() string { return fmt.Sprint("nodes of ", service, " are ", got, ", want ", want) }
	eventuallySaying(t, last, func() bool {
		got = nodes(d, service)
		return slices.Equal(got, want)
	})
}

func nodes(d registry.Registry, service string) (found []string) {
	services, err := d.GetService(service)
	if err != nil {
		return nil
	}
	for _, s := range services {
		for _, n := range s.Nodes {
			found = append(found, s.Version+":"+strings.TrimPrefix(n.Id, service+"-"))
		}
	}
	slices.Sort(found)
	return found
}

func testRegister(t *testing.T, w World) {
	a, b := start(t, w), start(t, w)
	s := service(t, "v1", "a", "b")
	register(t, a, s)
	for _, d := range []discovery.Discovery{a, b} {
		seen(t, d, s.Name, "v1:a", "v1:b")
	}
	got, err := b.GetService(s.Name)
	if err != nil || got[0].Name != s.Name || got[0].Nodes[0].Address == "" {
		t.Fatalf("%+v, %v", got, err)
	}
	deregister(t, a, service(t, "v1", "a"))
	seen(t, b, s.Name, "v1:b")
	deregister(t, a, &registry.Service{Name: s.Name, Version: "v1", Nodes: s.Nodes[1:]})
	seen(t, b, s.Name)
	if _, err := b.GetService(s.Name); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("after deregistration: %v", err)
	}
	if b.String() != "platform" {
		t.Error(b.String())
	}
}

func testVersions(t *testing.T, w World) {
	a, b := start(t, w), start(t, w)
	register(t, a, service(t, "v1", "a"))
	register(t, b, service(t, "v2", "b"))
	seen(t, a, name(t), "v1:a", "v2:b")
	deregister(t, a, service(t, "v1", "a"))
	seen(t, a, name(t), "v2:b")
}

func testMetadata(t *testing.T, w World) {
	a, b := start(t, w), start(t, w)
	s := service(t, "v1", "a")
	s.Nodes[0].Metadata["empty"] = ""
	s.Nodes[0].Metadata["rack"] = "ä:1,2=3"
	register(t, a, s)
	seen(t, b, s.Name, "v1:a")
	holds := func() bool {
		got, err := b.GetService(s.Name)
		if err != nil {
			return false
		}
		md := maps.Clone(got[0].Nodes[0].Metadata)
		delete(md, discovery.LeaseKey)
		return maps.Equal(md, s.Nodes[0].Metadata)
	}
	if !holds() {
		got, err := b.GetService(s.Name)
		t.Fatalf("%+v, %v", got[0].Nodes[0], err)
	}
	s.Nodes[0].Metadata["rack"] = "2"
	register(t, a, s)
	eventually(t, "metadata follow a new registration", holds)
}

func testEndpoints(t *testing.T, w World) {
	a, b := start(t, w), start(t, w)
	s := service(t, "v1", "a")
	s.Endpoints = []*registry.Endpoint{{
		Name: "Shop.Get", Metadata: map[string]string{"stream": "true"},
		Request:  &registry.Value{Name: "Request", Type: "Request", Values: []*registry.Value{{Name: "id", Type: "string"}}},
		Response: &registry.Value{Name: "Response", Type: "Response"},
	}}
	register(t, a, s)
	seen(t, b, s.Name, "v1:a")
	got, err := b.GetService(s.Name)
	if err != nil || len(got[0].Endpoints) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	e := got[0].Endpoints[0]
	if e.Name != "Shop.Get" || e.Metadata["stream"] != "true" || e.Request.Values[0].Type != "string" || e.Response.Name != "Response" {
		t.Errorf("%+v", e)
	}
}

func testList(t *testing.T, w World) {
	a, b := start(t, w), start(t, w)
	register(t, a, service(t, "v1", "a"))
	other := service(t, "v1", "b")
	other.Name += "2"
	register(t, a, other)
	for _, want := range []string{name(t), other.Name} { // b never asked for either
		eventually(t, "the list has "+want, func() bool {
			all, err := b.ListServices()
			return err == nil && slices.ContainsFunc(all, func(s *registry.Service) bool { return s.Name == want })
		})
	}
}

func testWatch(t *testing.T, w World) {
	a, b := start(t, w), start(t, w)
	watcher, err := b.Watch(registry.WatchService(name(t)))
	if err != nil {
		t.Fatal(err)
	}
	events := make(chan *registry.Result, 100)
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			r, err := watcher.Next()
			if err != nil {
				close(events)
				return
			}
			events <- r
		}
	})
	defer func() {
		watcher.Stop()
		for range events {
		}
		reader.Wait()
	}()
	next := func(deleted bool, id string) {
		t.Helper()
		timeout := time.After(time.Minute)
		for {
			select {
			case r := <-events:
				if r.Service.Name != name(t) {
					t.Fatalf("event of %s", r.Service.Name)
				}
				if (r.Action == "delete") == deleted && slices.ContainsFunc(r.Service.Nodes, func(n *registry.Node) bool { return n.Id == name(t)+"-"+id }) {
					return
				}
			case <-timeout:
				t.Fatalf("no event of node %s, deleted %t", id, deleted)
			}
		}
	}
	register(t, a, service(t, "v1", "a"))
	next(false, "a")
	register(t, b, service(t, "v1", "b"))
	next(false, "b")
	if err := a.Drain(); err != nil {
		t.Fatal(err)
	}
	next(true, "a")
	deregister(t, b, service(t, "v1", "b"))
	next(true, "b")
}

func testCopies(t *testing.T, w World) {
	a := start(t, w)
	s := service(t, "v1", "a")
	register(t, a, s)
	s.Nodes[0].Metadata["zone"], s.Nodes[0].Address = "stolen", "stolen"
	seen(t, a, s.Name, "v1:a")
	for range 2 {
		got, err := a.GetService(s.Name)
		if err != nil || got[0].Nodes[0].Metadata["zone"] != "north" || got[0].Nodes[0].Address == "stolen" {
			t.Fatalf("%+v, %v", got[0].Nodes[0], err)
		}
		got[0].Nodes[0].Metadata["zone"], got[0].Nodes[0].Address = "stolen", "stolen"
	}
}

func testUnknown(t *testing.T, w World) {
	a := start(t, w)
	if got, err := a.GetService(name(t)); !errors.Is(err, registry.ErrNotFound) || len(got) > 0 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := a.Snapshot(name(t)); !errors.Is(err, discovery.ErrNotFound) {
		t.Error(err)
	}
	if err := a.Deregister(service(t, "v1", "a")); err != nil {
		t.Errorf("deregister what never was: %v", err)
	}
	register(t, a, service(t, "v1", "a"))
	seen(t, a, name(t), "v1:a")
}

func testBad(t *testing.T, w World) {
	a := start(t, w)
	for what, s := range map[string]*registry.Service{
		"nil":      nil,
		"no name":  {Nodes: service(t, "", "a").Nodes},
		"no nodes": {Name: name(t)},
		"nil node": {Name: name(t), Nodes: []*registry.Node{nil}},
		"no id":    {Name: name(t), Nodes: []*registry.Node{{Address: "127.0.0.1:1"}}},
		"no addr":  {Name: name(t), Nodes: []*registry.Node{{Id: "x"}}},
	} {
		if err := a.Register(s); !errors.Is(err, discovery.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, opts := range map[string][]discovery.Option{
		"Interval":  {discovery.Interval(0)},
		"Secret":    {discovery.Secret(strings.Repeat("x", 257))},
		"Addresses": {discovery.Addresses("nonsense")},
	} {
		d := w.New(t, append([]discovery.Option{discovery.Interval(Interval)}, opts...)...)
		if err := d.Start(); !errors.Is(err, discovery.ErrInvalid) || !strings.Contains(err.Error(), what) {
			t.Errorf("option %s: %v", what, err)
		}
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	}
}

// testAgain is about Start and Stop.
func testAgain(t *testing.T, w World) {
	a := start(t, w)
	if err := a.Start(); err != nil {
		t.Error(err)
	}
	register(t, a, service(t, "v1", "a"))
	seen(t, a, name(t), "v1:a")
	for range 2 {
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
	}
	if err := a.Start(); !errors.Is(err, discovery.ErrStopped) {
		t.Errorf("start after Stop: %v", err)
	}
	if err := a.Register(service(t, "v1", "b")); !errors.Is(err, discovery.ErrStopped) {
		t.Errorf("register after Stop: %v", err)
	}
	unused := w.New(t)
	if err := unused.Stop(); err != nil {
		t.Error(err)
	}
}

func testConcurrent(t *testing.T, w World) {
	a, b := start(t, w), start(t, w)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			s := service(t, "v1", fmt.Sprint(i))
			for range 3 {
				if err := a.Register(s); err != nil {
					t.Error(err)
				}
				if _, err := b.GetService(s.Name); err != nil && !errors.Is(err, registry.ErrNotFound) {
					t.Error(err)
				}
				if i%2 == 0 {
					if err := a.Deregister(s); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	seen(t, b, name(t), "v1:1", "v1:3", "v1:5", "v1:7")
}
