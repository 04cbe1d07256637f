package regcache_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/regcache"
	"github.com/micro/go-platform/internal/rpctest"
)

// hostile is a registry that panics, and has nil pointers in what it tells.
type hostile struct {
	*memreg.Registry
	panics atomic.Bool
	nexts  atomic.Int64
}

func (h *hostile) GetService(name string, opts ...registry.GetOption) ([]*registry.Service, error) {
	if h.panics.Load() {
		panic("GetService")
	}
	found, err := h.Registry.GetService(name, opts...)
	for _, s := range found {
		s.Nodes = append(s.Nodes, nil, &registry.Node{})
	}
	return append(found, nil), err
}

func (h *hostile) ListServices(opts ...registry.ListOption) ([]*registry.Service, error) {
	if h.panics.Load() {
		panic("ListServices")
	}
	found, err := h.Registry.ListServices(opts...)
	return append(found, nil), err
}

func (h *hostile) Watch(opts ...registry.WatchOption) (registry.Watcher, error) {
	w, err := h.Registry.Watch(opts...)
	return hostileWatcher{w, h}, err
}

type hostileWatcher struct {
	registry.Watcher
	h *hostile
}

func (w hostileWatcher) Next() (*registry.Result, error) {
	if w.h.nexts.Add(1)%3 == 0 {
		return &registry.Result{Action: "update", Service: &registry.Service{Name: "shop", Version: "v1", Nodes: []*registry.Node{nil}}}, nil
	}
	if w.h.panics.Load() {
		panic("Next")
	}
	return w.Watcher.Next()
}

// A registry that panics in the cache's goroutines is one that does not answer.
func TestHostileRegistry(t *testing.T) {
	h := &hostile{Registry: memreg.New()}
	register(t, h, service("shop", "v1", "a"))
	c := start(t, h, regcache.Resync(quick), regcache.Poll(quick))
	eventually(t, c, "shop", "a")
	if all, err := c.ListServices(); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
	h.panics.Store(true)
	register(t, h, service("shop", "v1", "b")) // wakes the watcher
	before := h.nexts.Load()
	rpctest.Eventually(t, "watchers panicked", func() bool { return h.nexts.Load() > before+3 })
	if _, err := c.ListServices(); err != nil {
		t.Error(err)
	}
	h.panics.Store(false)
	eventually(t, c, "shop", "a", "b")
}

// clientless is go-micro's registry for Consul with a bad configuration.
type clientless struct{ registry.Registry }

func (clientless) Client() *api.Client { return nil }

func TestConsulWithoutAClient(t *testing.T) {
	r := memreg.New()
	register(t, r, service("shop", "v1", "a"))
	c := start(t, clientless{r}, regcache.Resync(quick), regcache.Poll(quick))
	eventually(t, c, "shop", "a")
	register(t, r, service("shop", "v1", "b"), registry.RegisterTTL(time.Minute))
	eventually(t, c, "shop", "a", "b")
}
