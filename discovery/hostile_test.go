package discovery_test

import (
	"sync/atomic"
	"testing"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/discovery"
	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpctest"
)

// hostile is a registry of a user's that panics at first.
type hostile struct {
	registry.Registry
	tries atomic.Int64
}

func (h *hostile) Register(s *registry.Service, opts ...registry.RegisterOption) error {
	if h.tries.Add(1) < 4 {
		panic("Register")
	}
	return h.Registry.Register(s, opts...)
}

// A registry that panics ends no process: the node is registered when it can be.
func TestARegistryThatPanics(t *testing.T) {
	h := &hostile{Registry: memreg.New()}
	d := started(t, discovery.NewDiscovery(discovery.Registry(h), discovery.EnableDiscovery(false), discovery.Interval(discovery.MinInterval), discovery.Logger(rpctest.Logger(t))))
	if err := d.Register(shop("1")); err == nil {
		t.Error("registered nowhere")
	}
	eventuallyFound(t, h, "shop", "1")
}
