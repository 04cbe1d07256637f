package regcache_test

import (
	"testing"
	"time"

	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/registry/consul"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/regcache"
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
