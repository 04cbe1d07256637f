package discovery_test

import (
	"fmt"
	"testing"
	"time"

	consulapi "github.com/hashicorp/consul/api"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/registry/consul"

	"github.com/micro/go-platform/discovery"
	discoverysrv "github.com/micro/go-platform/discovery/internal/srv"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/membroker"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
)

// host starts an agent of the server's datacenter, as each host has one.
func host(t *testing.T, server *backend.Server, name string) *backend.Server {
	t.Helper()
	c, err := consulapi.NewClient(&consulapi.Config{Address: server.Addr})
	if err != nil {
		t.Fatal(err)
	}
	members, err := c.Agent().Members(false)
	if err != nil || len(members) == 0 {
		t.Fatalf("%v, %v", members, err)
	}
	return backend.Consul(t, backend.Args("-server=false", "-bootstrap-expect=0", "-node="+name,
		fmt.Sprintf("-retry-join=%s:%d", members[0].Addr, members[0].Port)))
}

// A node that was registered at the agent of its own host leaves by the word of
// discovery-srv on another one, sooner than Consul's own lease ends, and stays
// away though its agent restores it.
func TestAnAgentPerHost(t *testing.T) {
	t.Parallel()
	const interval = 4 * time.Second
	server := backend.Consul(t)
	first, second := host(t, server, "first"), host(t, server, "second")
	at := func(agent *backend.Server) registry.Registry {
		return consul.NewConsulRegistry(registry.Addrs(agent.Addr))
	}
	brk, err := membroker.New()
	if err != nil {
		t.Fatal(err)
	}
	srv, err := daemon.Start(t.Context(), discoverysrv.Service(), daemon.Config{
		Registry: at(second), Broker: brk, Insecure: true, Logger: rpctest.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Stop(); err != nil {
			t.Error(err)
		}
	})
	c := rpc.NewClient(rpc.Config{Registry: at(first), Broker: brk})
	t.Cleanup(c.Close)
	d := started(t, discovery.NewDiscovery(discovery.Registry(at(first)), discovery.Client(c), discovery.Interval(interval), discovery.Logger(rpctest.Logger(t))))
	rpctest.Eventually(t, "the node is registered and leased", func() bool {
		return d.Register(shop("1")) == nil && len(found(at(second), "shop")) == 1 && ask(t, srv.Address()).status(t).Leases > 0
	})
	client, err := consulapi.NewClient(&consulapi.Config{Address: first.Addr})
	if err != nil {
		t.Fatal(err)
	}
	entries, _, err := client.Catalog().Service("shop", "", nil)
	if err != nil || len(entries) != 1 || entries[0].Node != "first" {
		t.Fatalf("%+v, %v", entries, err)
	}
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	reader := started(t, discovery.NewDiscovery(discovery.Registry(at(first)), discovery.EnableDiscovery(false)))
	eventuallyFound(t, reader, "shop")
	took := time.Since(begun)
	t.Logf("gone after %.1f intervals", took.Seconds()/interval.Seconds())
	if took > 4*interval {
		t.Errorf("gone only after %v", took)
	}
	e := entries[0] // as its agent does, from time to time
	if _, err := client.Catalog().Register(&consulapi.CatalogRegistration{Node: e.Node, Address: e.Address, Service: &consulapi.AgentService{
		ID: e.ServiceID, Service: e.ServiceName, Tags: e.ServiceTags, Meta: e.ServiceMeta, Address: e.ServiceAddress, Port: e.ServicePort,
	}}, nil); err != nil {
		t.Fatal(err)
	}
	eventuallyFound(t, at(second), "shop")
	eventuallyFound(t, reader, "shop")
}
