package regcache_test

import (
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/registry/consul"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/regcache"
)

// late is a registry whose first watcher comes after something else.
type late struct {
	registry.Registry
	once sync.Once
	do   func()
}

func (l *late) Watch(opts ...registry.WatchOption) (registry.Watcher, error) {
	l.once.Do(l.do)
	return l.Registry.Watch(opts...)
}

// lateConsul is one that is followed by its client.
type lateConsul struct{ *late }

func (l lateConsul) Client() *api.Client {
	l.once.Do(l.do)
	return l.Registry.(interface{ Client() *api.Client }).Client()
}

// A node that leaves after the cache read it, and before anybody watches, has left
// all the same: one of two, and the last one.
func TestNodesThatLeaveBeforeTheFirstWatcher(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) registry.Registry{
		"memory": func(*testing.T) registry.Registry { return memreg.New() },
		"consul": func(t *testing.T) registry.Registry {
			return consul.NewConsulRegistry(registry.Addrs(backend.Consul(t).Addr))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t)
			shop, bank := service("shop", "v1", "a"), service("bank", "v1", "x")
			for _, s := range []*registry.Service{shop, bank, service("bank", "v1", "y")} {
				register(t, r, s, registry.RegisterTTL(time.Minute))
			}
			var c *regcache.Cache
			ready := make(chan struct{})
			hooked := &late{Registry: r, do: func() {
				<-ready
				eventually(t, c, "shop", "a")
				eventually(t, c, "bank", "x", "y")
				deregister(t, r, shop)
				deregister(t, r, bank)
			}}
			source := registry.Registry(hooked)
			if name == "consul" {
				source = lateConsul{hooked}
			}
			c = start(t, source, regcache.Resync(time.Hour), regcache.Confirm(time.Hour))
			close(ready)
			eventually(t, c, "bank", "y")
			eventually(t, c, "shop")
		})
	}
}

// Who registers a service finds it at once, also right after it was not found.
func TestExpectedServices(t *testing.T) {
	m := newMoody()
	m.watchErr = errDead // nobody tells
	c := start(t, m, regcache.Resync(time.Hour), regcache.Poll(time.Hour))
	for range 20 {
		if got := ids(c, "shop"); got != nil {
			t.Fatalf("nodes %v", got)
		}
	}
	register(t, m, service("shop", "v1", "a"))
	c.Expect("shop")
	if got := ids(c, "shop"); len(got) != 1 {
		t.Errorf("nodes %v", got)
	}
}
