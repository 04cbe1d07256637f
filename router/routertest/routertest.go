// Package routertest is the suite that every selector of go-micro should pass,
// and the one that every router.Router does.
package routertest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"

	"github.com/micro/go-platform/internal/memreg"
)

// NewSelector makes a selector with the options, one of which is a registry.
// The suite closes it.
type NewSelector func(tb testing.TB, opts ...selector.Option) selector.Selector

// RunSelector runs the suite of go-micro's selector contract.
func RunSelector(t *testing.T, newSelector NewSelector) {
	for name, test := range map[string]func(*testing.T, NewSelector){
		"NotFound": testNotFound, "EveryNode": testEveryNode, "Filters": testFilters, "NoneAvailable": testNoneAvailable,
		"Strategy": testStrategy, "Mark": testMark, "Reset": testReset, "Concurrent": testConcurrent,
		"InitRegistry": testInitRegistry, "Metadata": testMetadata,
	} {
		t.Run(name, func(t *testing.T) { test(t, newSelector) })
	}
}

// Service is a service of the suite: so many nodes of each version, named
// VERSION-NUMBER.
func Service(name string, perVersion int, versions ...string) []*registry.Service {
	var all []*registry.Service
	for v, version := range versions {
		s := &registry.Service{Name: name, Version: version}
		for i := range perVersion {
			s.Nodes = append(s.Nodes, &registry.Node{
				Id: fmt.Sprintf("%s-%d", version, i), Address: fmt.Sprintf("127.0.%d.%d:9", v, i+1),
				Metadata: map[string]string{"protocol": "grpc", "number": fmt.Sprint(i)},
			})
		}
		all = append(all, s)
	}
	return all
}

// Registry returns a registry in memory with the services.
func Registry(t testing.TB, services ...*registry.Service) registry.Registry {
	t.Helper()
	r := memreg.New()
	for _, s := range services {
		if err := r.Register(s); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func open(t *testing.T, newSelector NewSelector, opts ...selector.Option) selector.Selector {
	t.Helper()
	s := newSelector(t, opts...)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Take selects a node as go-micro's client does: Select once, Next and Mark.
func Take(t *testing.T, s selector.Selector, service string, err error, opts ...selector.SelectOption) *registry.Node {
	t.Helper()
	next, failed := s.Select(service, opts...)
	if failed != nil {
		t.Fatal(failed)
	}
	node, failed := next()
	if failed != nil {
		t.Fatal(failed)
	}
	s.Mark(service, node, err)
	return node
}

// Eventually polls until ok holds.
func Eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func testNotFound(t *testing.T, newSelector NewSelector) {
	s := open(t, newSelector, selector.Registry(Registry(t)))
	if _, err := s.Select("shop"); !errors.Is(err, selector.ErrNotFound) {
		t.Errorf("unknown service: %v", err)
	}
}

func testEveryNode(t *testing.T, newSelector NewSelector) {
	s := open(t, newSelector, selector.Registry(Registry(t, Service("shop", 3, "v1", "v2")...)))
	seen := map[string]int{}
	for range 600 {
		seen[Take(t, s, "shop", nil).Id]++
	}
	if len(seen) != 6 {
		t.Errorf("nodes that got calls: %v", seen)
	}
	for id, n := range seen {
		if n < 30 {
			t.Errorf("%s got %d of 600 calls, its fair share is 100", id, n)
		}
	}
}

func testFilters(t *testing.T, newSelector NewSelector) {
	s := open(t, newSelector, selector.Registry(Registry(t, Service("shop", 3, "v1", "v2")...)))
	both := selector.WithFilter(selector.FilterVersion("v2"), selector.FilterLabel("number", "1"))
	for range 50 {
		if id := Take(t, s, "shop", nil, selector.WithFilter(selector.FilterVersion("v2"))).Id; id[:2] != "v2" {
			t.Fatalf("filter of v2 let %s through", id)
		}
		if id := Take(t, s, "shop", nil, both).Id; id != "v2-1" {
			t.Fatalf("two filters let %s through", id)
		}
	}
	all := selector.WithFilter(func(old []*registry.Service) []*registry.Service { return old })
	seen := map[string]bool{}
	for range 200 {
		seen[Take(t, s, "shop", nil, all).Id] = true
	}
	if len(seen) != 6 {
		t.Errorf("a filter of nothing left %v", seen)
	}
}

func testNoneAvailable(t *testing.T, newSelector NewSelector) {
	s := open(t, newSelector, selector.Registry(Registry(t, Service("shop", 3, "v1")...)))
	if _, err := s.Select("shop", selector.WithFilter(selector.FilterVersion("v9"))); !errors.Is(err, selector.ErrNoneAvailable) {
		t.Errorf("nothing left by the filter: %v", err)
	}
}

func testStrategy(t *testing.T, newSelector NewSelector) {
	first := func(services []*registry.Service) selector.Next {
		return func() (*registry.Node, error) { return services[0].Nodes[0], nil }
	}
	s := open(t, newSelector, selector.Registry(Registry(t, Service("shop", 3, "v1")...)))
	want := Take(t, s, "shop", nil, selector.WithStrategy(first)).Id
	for range 50 {
		if id := Take(t, s, "shop", nil, selector.WithStrategy(first)).Id; id != want {
			t.Fatalf("strategy of the call: %s, then %s", want, id)
		}
	}
	fixed := open(t, newSelector, selector.Registry(Registry(t, Service("shop", 3, "v1")...)), selector.SetStrategy(first))
	want = Take(t, fixed, "shop", nil).Id
	for range 50 {
		if id := Take(t, fixed, "shop", nil).Id; id != want {
			t.Fatalf("strategy of the selector: %s, then %s", want, id)
		}
	}
}

// testMark hands Mark what go-micro's clients do: no node after an error of
// Next, a made-up one for WithAddress, a late one, and application errors.
func testMark(t *testing.T, newSelector NewSelector) {
	s := open(t, newSelector, selector.Registry(Registry(t, Service("shop", 2, "v1")...)))
	s.Mark("shop", nil, errors.New("no node"))
	s.Mark("nobody", &registry.Node{Id: "x"}, nil)
	node := Take(t, s, "shop", nil)
	s.Mark("shop", &registry.Node{Address: "127.0.0.1:1"}, nil)
	s.Mark("shop", node, nil) // once too often
	for range 20 {
		Take(t, s, "shop", merrors.NotFound("shop", "no such order"))
	}
	seen := map[string]bool{}
	for range 100 {
		seen[Take(t, s, "shop", nil).Id] = true
	}
	if len(seen) != 2 {
		t.Errorf("after errors of the application only %v get calls", seen)
	}
}

func testReset(t *testing.T, newSelector NewSelector) {
	s := open(t, newSelector, selector.Registry(Registry(t, Service("shop", 2, "v1")...)))
	s.Reset("shop") // before it was selected
	for range 20 {
		Take(t, s, "shop", merrors.InternalServerError("shop", "broken"))
	}
	s.Reset("shop")
	s.Reset("nobody")
	seen := map[string]bool{}
	for range 100 {
		seen[Take(t, s, "shop", nil).Id] = true
	}
	if len(seen) != 2 {
		t.Errorf("after Reset only %v get calls", seen)
	}
}

func testConcurrent(t *testing.T, newSelector NewSelector) {
	reg := Registry(t, Service("shop", 5, "v1")...)
	s := open(t, newSelector, selector.Registry(reg))
	Take(t, s, "shop", nil)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				next, err := s.Select("shop")
				if err != nil {
					t.Error(err)
					return
				}
				node, err := next()
				if err != nil {
					t.Error(err)
					return
				}
				var failed error
				if (g+i)%7 == 0 {
					failed = merrors.InternalServerError("shop", "broken")
				}
				s.Mark("shop", node, failed)
				if i%100 == 0 {
					s.Reset("shop")
				}
			}
		})
	}
	wg.Wait()
}

func testInitRegistry(t *testing.T, newSelector NewSelector) {
	s := open(t, newSelector, selector.Registry(Registry(t)))
	if err := s.Init(selector.Registry(Registry(t, Service("shop", 1, "v1")...))); err != nil {
		t.Fatal(err)
	}
	if s.Options().Registry == nil {
		t.Error("Options has no registry")
	}
	if id := Take(t, s, "shop", nil).Id; id != "v1-0" {
		t.Errorf("selected %s", id)
	}
	// Once more, now that it is in use.
	if err := s.Init(selector.Registry(Registry(t, Service("stock", 1, "v3")...))); err != nil {
		t.Fatal(err)
	}
	if id := Take(t, s, "stock", nil).Id; id != "v3-0" {
		t.Errorf("selected %s", id)
	}
}

func testMetadata(t *testing.T, newSelector NewSelector) {
	s := open(t, newSelector, selector.Registry(Registry(t, Service("shop", 1, "v1")...)))
	node := Take(t, s, "shop", nil)
	if node.Address != "127.0.0.1:9" || node.Metadata["protocol"] != "grpc" {
		t.Errorf("node %+v", node)
	}
}

func testChanges(t *testing.T, newSelector NewSelector) {
	reg := Registry(t, Service("shop", 1, "v1")...)
	s := open(t, newSelector, selector.Registry(reg))
	for range 10 {
		Take(t, s, "shop", nil)
	}
	if err := reg.Register(Service("shop", 1, "v2")[0]); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	Eventually(t, "a new node gets calls", func() bool {
		seen[Take(t, s, "shop", nil).Id] = true
		return len(seen) == 2
	})
	if err := reg.Deregister(Service("shop", 1, "v1")[0]); err != nil {
		t.Fatal(err)
	}
	in := 0
	Eventually(t, "a node that left gets none", func() bool {
		if in++; Take(t, s, "shop", nil).Id == "v1-0" {
			in = 0
		}
		return in > 100
	})
}
