package discovery

import (
	"net/http"

	"github.com/hashicorp/consul/api"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/registry/consul"

	"github.com/micro/go-platform/internal/consulagents"
)

// SharedConsul is an option of go-micro's registry for Consul,
// consul.NewConsulRegistry(discovery.SharedConsul(), registry.Addrs(...)). The registry
// then has no connections of its own: a process has three to an agent with all that it
// does there, sync, kv and config too, while an agent takes 200 of one host. With
// registry.TLSConfig or registry.Secure the registry has its own ones all the same.
// Like consul.Config, which it replaces, it reads the environment variables of
// Consul's own clients.
func SharedConsul() registry.Option {
	return func(o *registry.Options) {
		c := api.DefaultConfig()
		transport, err := consulagents.Transport()
		if err != nil {
			return // of the environment: the registry meets it by itself
		}
		c.HttpClient = &http.Client{Transport: transport}
		consul.Config(c)(o)
	}
}
