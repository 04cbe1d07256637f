package regcache_test

import (
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/registry/consul"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/regcache"
	"github.com/micro/go-platform/internal/rpctest"
)

// Consul is followed without a goroutine per service: a registration, new
// metadata, a missed lease and a deregistration are seen though the next resync
// is an hour away.
func TestConsul(t *testing.T) {
	srv := backend.Consul(t)
	nodes := func() registry.Registry { return consul.NewConsulRegistry(registry.Addrs(srv.Addr)) }
	a, b, mortal := nodes(), nodes(), nodes()
	register(t, a, service("shop", "v1", "a"), registry.RegisterTTL(time.Minute))
	c := start(t, nodes(), regcache.Resync(time.Hour), regcache.Confirm(time.Hour))
	eventually(t, c, "shop", "a")
	register(t, b, service("shop", "v1", "b"), registry.RegisterTTL(time.Minute))
	eventually(t, c, "shop", "a", "b")
	register(t, mortal, service("shop", "v1", "m"), registry.RegisterTTL(time.Second))
	eventually(t, c, "shop", "a", "b", "m")
	eventually(t, c, "shop", "a", "b") // its lease ended

	leaving := service("shop", "v1", "b")
	leaving.Nodes[0] = regcache.Drain(leaving.Nodes[0])
	register(t, b, leaving, registry.RegisterTTL(time.Minute))
	eventually(t, c, "shop", "a")

	srv.Kill(t)
	eventually(t, c, "shop", "a")
	srv.Restart(t)
	register(t, b, service("shop", "v1", "b"), registry.RegisterTTL(time.Minute))
	eventually(t, c, "shop", "a", "b")
	deregister(t, a, service("shop", "v1", "a"))
	eventually(t, c, "shop", "b")
	deregister(t, b, service("shop", "v1", "b"))
	eventually(t, c, "shop")
}

// A Consul that was away for longer than a lease says of every node that it is
// critical. Nobody believes it for as long as those that are well take to say so;
// one that is not well leaves in the end.
func TestConsulAwayForLongerThanALease(t *testing.T) {
	const beat, ttl = time.Second, time.Second
	srv := backend.Consul(t)
	client, err := api.NewClient(&api.Config{Address: srv.Addr})
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{"a", "b", "c"}
	nodes := make(map[string]registry.Registry)
	for _, id := range ids {
		nodes[id] = consul.NewConsulRegistry(registry.Addrs(srv.Addr))
		register(t, nodes[id], service("shop", "v1", id), registry.RegisterTTL(time.Minute))
	}
	c := start(t, consul.NewConsulRegistry(registry.Addrs(srv.Addr)), regcache.Resync(time.Hour), regcache.Beat(beat))
	eventually(t, c, "shop", ids...)
	for _, id := range ids {
		register(t, nodes[id], &registry.Service{Name: "shop", Version: "v1", Nodes: service("shop", "v1", id).Nodes,
			Metadata: map[string]string{"lease": "short"}}, registry.RegisterTTL(ttl))
	}
	srv.Kill(t)
	away := time.Now().Add(2 * ttl)
	rpctest.Eventually(t, "a lease is over", func() bool { return time.Now().After(away) })
	srv.Restart(t)
	kept := func() bool {
		s := c.Known("shop")
		return s != nil && len(s.Nodes) == len(ids)
	}
	rpctest.Eventually(t, "Consul says that every node is critical", func() bool {
		if !kept() {
			t.Fatalf("nodes %+v", c.Known("shop"))
		}
		checks, _, err := client.Health().State(api.HealthCritical, nil)
		return err == nil && len(checks) == len(ids)
	})
	for well := time.Now().Add(beat); time.Now().Before(well); time.Sleep(5 * time.Millisecond) {
		if !kept() {
			t.Fatalf("nodes %+v", c.Known("shop"))
		}
	}
	for _, id := range ids[:2] {
		register(t, nodes[id], service("shop", "v1", id), registry.RegisterTTL(time.Minute))
	}
	eventually(t, c, "shop", "a", "b")
}

// A Consul that lost everything is told of one service after the other. Those that
// are not there yet have not left.
func TestConsulRestartedEmpty(t *testing.T) {
	srv := backend.Consul(t)
	reg := consul.NewConsulRegistry(registry.Addrs(srv.Addr))
	shop, bank := service("shop", "v1", "a"), service("bank", "v1", "b")
	for range 20 { // it has lived, as its indexes show
		register(t, reg, bank, registry.RegisterTTL(time.Minute))
		deregister(t, reg, bank)
	}
	for _, s := range []*registry.Service{shop, bank} {
		register(t, reg, s, registry.RegisterTTL(time.Minute))
	}
	c := start(t, consul.NewConsulRegistry(registry.Addrs(srv.Addr)), regcache.Resync(time.Hour))
	eventually(t, c, "shop", "a")
	eventually(t, c, "bank", "b")
	srv.Kill(t)
	backend.WipeConsul(t, srv)
	away := time.Now().Add(6 * time.Second) // so that the cache does not ask all the time
	rpctest.Eventually(t, "Consul was away", func() bool { return time.Now().After(away) })
	srv.Restart(t)
	fresh := consul.NewConsulRegistry(registry.Addrs(srv.Addr))
	rpctest.Eventually(t, "bank is registered again", func() bool {
		found, err := fresh.GetService("bank")
		return fresh.Register(bank, registry.RegisterTTL(time.Minute)) == nil && err == nil && len(found) > 0
	})
	if left, err := reg.GetService("shop"); err == nil && len(left) > 0 {
		t.Fatalf("Consul still knows %v", left)
	}
	for until := time.Now().Add(6 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if c.Known("shop") == nil {
			t.Fatal("the cache lost a service that nobody took away")
		}
	}
	register(t, consul.NewConsulRegistry(registry.Addrs(srv.Addr)), shop, registry.RegisterTTL(time.Minute))
	eventually(t, c, "shop", "a")
}
