// Package wire is what the server and the client of the example share.
package wire

import (
	"fmt"

	"go-micro.dev/v5/registry"
	"go-micro.dev/v5/registry/consul"
)

// Service is the name of the server.
const Service = "go.micro.example.greeter"

// The messages travel as JSON.
type (
	Request  struct{ Name string }
	Response struct{ Text string }
)

// Registry returns the registry that both processes use.
func Registry(name, address string) (registry.Registry, error) {
	switch name {
	case "consul":
		return consul.NewConsulRegistry(registry.Addrs(address)), nil
	case "mdns":
		return registry.NewMDNSRegistry(), nil
	}
	return nil, fmt.Errorf("-registry %q: want consul or mdns", name)
}
