package monitor

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/lifecycle"
)

// deregister takes the node out of the registry while the server still serves. A
// registry that does not answer is not waited for: the lease there ends by itself.
func (s *Shutdown) deregister() error {
	left := make(chan error, 1)
	go func() { left <- s.leave() }()
	timer := time.NewTimer(lifecycle.FlushTimeout)
	defer timer.Stop()
	select {
	case err := <-left:
		return err
	case <-timer.C:
		return fmt.Errorf("leave the registry: no answer within %v", lifecycle.FlushTimeout)
	}
}

func (s *Shutdown) leave() error {
	o := s.server.Options()
	services, err := o.Registry.GetService(o.Name)
	if errors.Is(err, registry.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("leave the registry: %w", err)
	}
	for _, service := range services {
		for _, node := range service.Nodes {
			if node.Id != o.Name+"-"+o.Id {
				continue
			}
			gone := &registry.Service{Name: service.Name, Version: service.Version, Nodes: []*registry.Node{node}}
			if err := leave(o.Registry, gone); err != nil {
				return fmt.Errorf("leave the registry: %w", err)
			}
		}
	}
	return nil
}

// leave takes a node out of the registry. go-micro's server deregisters it once
// more when it stops, which Consul alone objects to: there the node's check
// turns critical instead, so that everybody leaves it, and the server's own
// deregistration finds it.
func leave(r registry.Registry, s *registry.Service) error {
	if c, ok := r.(interface{ Client() *api.Client }); ok {
		const ttlCheck = "service:" // of go-micro's registry; a node may have another check, or none
		if err := c.Client().Agent().FailTTL(ttlCheck+s.Nodes[0].Id, "leaving"); err == nil {
			return nil
		}
	}
	return r.Deregister(s)
}
