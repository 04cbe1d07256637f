package monitor

import (
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/lifecycle"
)

// depart takes the node out of the registry. It waits FlushTimeout for the
// registry at most: the lease there ends by itself.
func (s *Shutdown) depart() error {
	left := make(chan error, 1)
	go func() { left <- s.deregister() }()
	timer := time.NewTimer(lifecycle.FlushTimeout)
	defer timer.Stop()
	select {
	case err := <-left:
		return err
	case <-timer.C:
		return fmt.Errorf("monitor: leave the registry: no answer within %v", lifecycle.FlushTimeout)
	}
}

// leaving is a registry that a node leaves before its server stops. go-micro's
// server then deregisters the node once more, which only Consul refuses: there
// Deregister turns the check of the node critical instead, so that callers
// leave it and the second deregistration finds it.
type leaving struct{ registry.Registry }

func (l leaving) Deregister(s *registry.Service, opts ...registry.DeregisterOption) error {
	if c, ok := l.Registry.(interface{ Client() *api.Client }); ok {
		const ttlCheck = "service:" // of go-micro's registry; a node may have another check, or none
		if err := c.Client().Agent().FailTTL(ttlCheck+s.Nodes[0].Id, "leaving"); err == nil {
			return nil
		}
	}
	return l.Registry.Deregister(s, opts...)
}
