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
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/discovery"
	"github.com/micro/go-platform/internal/lifecycle/lifecycletest"
)

// Interval is that of the plugins under test. A busy machine that stalls them for
// some seconds ends no lease of five.
const Interval = time.Second

// New makes the plugin of a process of its own on a registry that all of them
// use, with all of opts. It does not start the plugin: the suites start and stop
// it.
type New func(tb testing.TB, opts ...discovery.Option) discovery.Discovery

// Run checks that a discovery is a go-micro registry. Each subtest has services
// of its own.
func Run(t *testing.T, newDiscovery New) {
	for name, test := range map[string]func(*testing.T, New){
		"Lifecycle": testLifecycle, "Register": testRegister, "Versions": testVersions, "Metadata": testMetadata,
		"Endpoints": testEndpoints, "List": testList, "Watch": testWatch, "Copies": testCopies, "Unknown": testUnknown,
		"Bad": testBad, "Stopped": testStopped, "Concurrent": testConcurrent, "Moved": testMoved,
		"Text": testText,
	} {
		t.Run(name, func(t *testing.T) { test(t, newDiscovery) })
	}
}

// made makes a plugin that is stopped when the test ends.
func made(t *testing.T, newDiscovery New, opts ...discovery.Option) discovery.Discovery {
	t.Helper()
	d := newDiscovery(t, append([]discovery.Option{discovery.Interval(Interval)}, opts...)...)
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// start makes and starts the plugin of one process.
func start(t *testing.T, newDiscovery New, opts ...discovery.Option) discovery.Discovery {
	t.Helper()
	d := made(t, newDiscovery, opts...)
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	return d
}

func testLifecycle(t *testing.T, newDiscovery New) {
	var calls atomic.Int64
	lifecycletest.Run(t, lifecycletest.Case[discovery.Discovery, discovery.Option]{
		New: newDiscovery,
		Call: func(d discovery.Discovery) error {
			s := service(t, "v1", fmt.Sprint(calls.Add(1)))
			if err := d.Register(s); err != nil {
				return err
			}
			_, err := d.GetService(s.Name)
			return errors.Join(err, d.Deregister(s))
		},
		Bad:       discovery.Interval(0),
		Text:      "discovery: option Interval: 0s is not within 10ms to 1h0m0s",
		NilLogger: discovery.Logger(nil),
	})
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

func testRegister(t *testing.T, newDiscovery New) {
	a, b := start(t, newDiscovery), start(t, newDiscovery)
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

func testVersions(t *testing.T, newDiscovery New) {
	a, b := start(t, newDiscovery), start(t, newDiscovery)
	register(t, a, service(t, "v1", "a"))
	register(t, b, service(t, "v2", "b"))
	seen(t, a, name(t), "v1:a", "v2:b")
	deregister(t, a, service(t, "v1", "a"))
	seen(t, a, name(t), "v2:b")
}

func testMetadata(t *testing.T, newDiscovery New) {
	a, b := start(t, newDiscovery), start(t, newDiscovery)
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

func testEndpoints(t *testing.T, newDiscovery New) {
	a, b := start(t, newDiscovery), start(t, newDiscovery)
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

func testList(t *testing.T, newDiscovery New) {
	a, b := start(t, newDiscovery), start(t, newDiscovery)
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

func testWatch(t *testing.T, newDiscovery New) {
	a, b := start(t, newDiscovery), start(t, newDiscovery)
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

func testCopies(t *testing.T, newDiscovery New) {
	a := start(t, newDiscovery)
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

func testUnknown(t *testing.T, newDiscovery New) {
	a := start(t, newDiscovery)
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

func testBad(t *testing.T, newDiscovery New) {
	a := start(t, newDiscovery)
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
		"Secret":    {discovery.Secret(strings.Repeat("x", 257))},
		"Addresses": {discovery.Addresses("nonsense")},
	} {
		d := made(t, newDiscovery, opts...)
		if err := d.Start(); !errors.Is(err, discovery.ErrInvalid) || !strings.HasPrefix(err.Error(), "discovery: option "+what+": ") {
			t.Errorf("option %s: %v", what, err)
		}
		if _, err := d.GetService(name(t)); !errors.Is(err, discovery.ErrInvalid) {
			t.Errorf("option %s: a call: %v", what, err)
		}
	}
}

// testMoved is about a process that dies, and returns elsewhere with the next
// version, under the id that it had: so does a StatefulSet. No lease ends here.
func testMoved(t *testing.T, newDiscovery New) {
	opts := []discovery.Option{discovery.Interval(10 * time.Minute), discovery.Secret("of both")}
	a, b, reader := start(t, newDiscovery, opts...), start(t, newDiscovery, opts...), start(t, newDiscovery)
	s := service(t, "v1", "a")
	register(t, a, s)
	seen(t, reader, s.Name, "v1:a")
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	s.Version, s.Nodes[0].Address = "v2", "127.0.0.1:1999"
	register(t, b, s)
	seen(t, reader, s.Name, "v2:a")
	seen(t, start(t, newDiscovery), s.Name, "v2:a")
}

// testStopped is about what a discovery still does after Stop.
func testStopped(t *testing.T, newDiscovery New) {
	a := start(t, newDiscovery)
	register(t, a, service(t, "v1", "a"))
	seen(t, a, name(t), "v1:a")
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	if got := nodes(a, name(t)); !slices.Equal(got, []string{"v1:a"}) {
		t.Errorf("what is known after Stop: %v", got)
	}
	for what, err := range map[string]error{
		"get a service": failure(a.GetService(name(t) + "2")), "snapshot": failure(a.Snapshot(name(t) + "2")), "watch": failure(a.Watch()),
		"register": a.Register(service(t, "v1", "b")), "deregister": a.Deregister(service(t, "v1", "a")), "drain": a.Drain(),
	} {
		if !errors.Is(err, discovery.ErrStopped) || err.Error() != "discovery: stopped" {
			t.Errorf("%s after Stop: %v", what, err)
		}
	}
}

func failure[T any](_ T, err error) error { return err }

func testConcurrent(t *testing.T, newDiscovery New) {
	a, b := start(t, newDiscovery), start(t, newDiscovery)
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
