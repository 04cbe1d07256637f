package monitor

import (
	"github.com/hashicorp/consul/api"
	"go-micro.dev/v6/registry"
)

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
