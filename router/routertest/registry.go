package routertest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"

	"github.com/micro/go-platform/router"
)

// Registries is a registry that the router is tried on.
type Registries struct {
	Registry registry.Registry
	Kill     func() // ends the servers behind it
}

// RunRegistry checks that a router follows a registry other than that in
// memory: nodes that come, move, drain and leave, and a registry that dies. Run
// does not depend on which one there is.
func RunRegistry(t *testing.T, newRouter New, on Registries) {
	shop := Service("shop", 3, "v1")[0]
	register := func(s *registry.Service) {
		t.Helper()
		if err := on.Registry.Register(s, registry.RegisterTTL(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	one := func(s *registry.Service, i int, address, status string) *registry.Service {
		n := *s.Nodes[i]
		// Of Consul an address is only seen with other news, here of metadata.
		n.Address, n.Metadata = address, map[string]string{"protocol": "grpc", "status": status, "at": address}
		return &registry.Service{Name: s.Name, Version: s.Version, Nodes: []*registry.Node{&n}}
	}
	for i, n := range shop.Nodes { // one by one, as services do
		register(one(shop, i, n.Address, "RUNNING"))
	}
	r := started(t, newRouter, selector.Registry(on.Registry), router.Strategy(router.RoundRobin))
	used := func() (addresses []string) {
		for range 12 {
			next, err := r.Select("shop")
			if err != nil {
				return nil
			}
			node, err := next()
			if err != nil {
				return nil
			}
			r.Mark("shop", node, nil)
			addresses = append(addresses, node.Address)
		}
		slices.Sort(addresses)
		return slices.Compact(addresses)
	}
	become := func(what string, want ...string) {
		t.Helper()
		Eventually(t, fmt.Sprintf("%s: %v", what, want), func() bool { return slices.Equal(used(), want) })
	}
	a, b, c := shop.Nodes[0].Address, shop.Nodes[1].Address, shop.Nodes[2].Address
	become("all are used", a, b, c)

	register(one(shop, 2, "127.0.9.9:9", "RUNNING"))
	become("a node moved", a, b, "127.0.9.9:9")
	register(one(shop, 0, a, "DRAINING"))
	become("a node drains", b, "127.0.9.9:9")
	if err := on.Registry.Deregister(one(shop, 2, "127.0.9.9:9", "RUNNING")); err != nil {
		t.Fatal(err)
	}
	become("a node left", b)
	register(&registry.Service{Name: "shop", Version: "v2", Nodes: []*registry.Node{{
		Id: "v2-0", Address: "127.1.0.1:9", Metadata: map[string]string{"protocol": "grpc"},
	}}})
	become("a version came", b, "127.1.0.1:9")

	on.Kill()
	for range 50 {
		if got := used(); !slices.Equal(got, []string{b, "127.1.0.1:9"}) {
			t.Fatalf("without the registry: %v", got)
		}
		time.Sleep(10 * time.Millisecond) // so that it has time to be missed
	}
}
