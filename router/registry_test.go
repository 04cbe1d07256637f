package router_test

import (
	"os"
	"os/exec"
	"testing"

	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/registry/consul"
	"go-micro.dev/v6/registry/etcd"
	"go-micro.dev/v6/selector"

	"github.com/micro/go-platform/discovery"
	discoverysrv "github.com/micro/go-platform/discovery/srv"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/router"
	"github.com/micro/go-platform/router/routertest"
)

// inChild makes the test binary run the test that leaves goroutines behind:
// go-micro's client of etcd cannot be closed.
const inChild = "GO_PLATFORM_TEST_CHILD"

func standalone(_ testing.TB, opts ...selector.Option) router.Router {
	return router.NewRouter(append([]selector.Option{router.Standalone()}, opts...)...)
}

func TestOnMemory(t *testing.T) {
	routertest.RunRegistry(t, standalone, routertest.Registries{Registry: memreg.New(), Kill: func() {}})
}

func TestOnConsul(t *testing.T) {
	srv := backend.Consul(t)
	routertest.RunRegistry(t, standalone, routertest.Registries{
		Registry: consul.NewConsulRegistry(registry.Addrs(srv.Addr)), Kill: func() { srv.Kill(t) },
	})
}

func TestOnEtcd(t *testing.T) {
	if os.Getenv(inChild) == "" {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestOnEtcd$", "-test.v")
		cmd.Env = append(os.Environ(), inChild+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	srv := backend.Etcd(t)
	routertest.RunRegistry(t, standalone, routertest.Registries{
		Registry: etcd.NewEtcdRegistry(registry.Addrs(srv.Addr)), Kill: func() { srv.Kill(t) },
	})
}

func TestOnDiscovery(t *testing.T) {
	address := backend.Address(t)
	srv := rpctest.New(t).Boot(discoverysrv.New(), func(c *daemon.Config) { c.Registry, c.Address = nil, address })
	d := discovery.NewDiscovery(discovery.Addresses(address))
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Stop() }) // it cannot deregister without the server
	routertest.RunRegistry(t, standalone, routertest.Registries{Registry: d, Kill: func() {
		if err := srv.Stop(); err != nil {
			t.Error(err)
		}
	}})
}
