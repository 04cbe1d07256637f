package rpc_test

import (
	"errors"
	"sync"
	"testing"

	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"

	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/regcache"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/rpctest"
)

func shop(version string, addresses ...string) *registry.Service {
	s := &registry.Service{Name: "shop", Version: version}
	for _, address := range addresses {
		s.Nodes = append(s.Nodes, &registry.Node{Id: version + address, Address: address, Metadata: map[string]string{}})
	}
	return s
}

func selectorOf(t *testing.T, r registry.Registry) selector.Selector {
	c := rpc.NewClient(rpc.Config{Registry: r})
	t.Cleanup(c.Close)
	return c.Options().Selector
}

func TestNodesInTurn(t *testing.T) {
	reg := memreg.New()
	draining := shop("2", "d")
	draining.Nodes[0] = regcache.Drain(draining.Nodes[0])
	for _, s := range []*registry.Service{shop("1", "a", "b"), shop("2", "c"), draining} {
		if err := reg.Register(s); err != nil {
			t.Fatal(err)
		}
	}
	sel, firsts := selectorOf(t, reg), map[string]int{}
	for range 200 {
		next, err := sel.Select("shop")
		if err != nil {
			t.Fatal(err)
		}
		met := map[string]bool{}
		for i := range 3 {
			n, err := next()
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				firsts[n.Address]++
			}
			met[n.Address] = true
		}
		if len(met) != 3 || met["d"] {
			t.Fatalf("three tries met %v", met)
		}
	}
	for _, address := range []string{"a", "b", "c"} {
		if firsts[address] < 30 {
			t.Errorf("first nodes of 200 calls: %v", firsts)
		}
	}
}

func TestNodesFollowTheRegistry(t *testing.T) {
	reg := memreg.New()
	sel := selectorOf(t, reg)
	if _, err := sel.Select("shop"); !errors.Is(err, selector.ErrNotFound) {
		t.Fatalf("nobody is there: %v", err)
	}
	for _, address := range []string{"first", "second"} {
		s := shop("1", address)
		if err := reg.Register(s); err != nil {
			t.Fatal(err)
		}
		rpctest.Eventually(t, address+" is found", func() bool {
			next, err := sel.Select("shop")
			if err != nil {
				return false
			}
			n, err := next()
			return err == nil && n.Address == address
		})
		if err := reg.Deregister(s); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNodesAreChosenByOptions(t *testing.T) {
	reg := memreg.New()
	for _, s := range []*registry.Service{shop("1", "a"), shop("2", "b")} {
		if err := reg.Register(s); err != nil {
			t.Fatal(err)
		}
	}
	sel := selectorOf(t, reg)
	next, err := sel.Select("shop", selector.WithFilter(selector.FilterVersion("2")))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := next(); err != nil || n.Address != "b" {
		t.Errorf("filtered: %v, %v", n, err)
	}
	if _, err := sel.Select("shop", selector.WithFilter(selector.FilterVersion("3"))); !errors.Is(err, selector.ErrNoneAvailable) {
		t.Errorf("nothing is left: %v", err)
	}
	first := func(all []*registry.Service) selector.Next {
		return func() (*registry.Node, error) { return all[0].Nodes[0], nil }
	}
	if next, err = sel.Select("shop", selector.WithStrategy(first)); err != nil {
		t.Fatal(err)
	}
	if n, err := next(); err != nil || n.Address != "a" {
		t.Errorf("by a strategy: %v, %v", n, err)
	}
	if err := sel.Init(selector.Registry(memreg.New())); !errors.Is(err, rpcerr.ErrInvalid) {
		t.Errorf("another registry: %v", err)
	}
}

// What nodes are made of is not torn by a change under way, as go-micro's
// selector tears it: it is for the race detector.
func TestNodesWhileTheyChange(t *testing.T) {
	reg := memreg.New()
	sel := selectorOf(t, reg)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for range 200 {
				if next, err := sel.Select("shop", selector.WithFilter(selector.FilterVersion("1"))); err == nil {
					_, _ = next() // any node, or none
				}
				if i == 0 {
					_ = reg.Register(shop("1", "a", "b")) // a map takes everything
					_ = reg.Deregister(shop("1", "b"))
				}
			}
		})
	}
	all.Wait()
}
