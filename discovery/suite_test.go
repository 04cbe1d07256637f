package discovery_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/registry/consul"
	"go-micro.dev/v6/registry/etcd"

	"github.com/micro/go-platform/discovery"
	"github.com/micro/go-platform/discovery/discoverytest"
	discoverysrv "github.com/micro/go-platform/discovery/internal/srv"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/membroker"
	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpctest"
)

// inChild makes the test binary run the tests that leave goroutines behind:
// go-micro's client of etcd cannot be closed.
const inChild = "GO_PLATFORM_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(inChild) != "" {
		os.Exit(m.Run())
	}
	rpctest.Main(m)
}

// cutRegistry is a registry that can be out of reach.
type cutRegistry struct {
	*memreg.Registry
	mu       sync.Mutex
	cut      bool
	watchers []registry.Watcher
}

var errCut = errors.New("connection refused")

func (r *cutRegistry) set(cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = cut
	for _, w := range r.watchers {
		w.Stop()
	}
	r.watchers = nil
}

func (r *cutRegistry) err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cut {
		return errCut
	}
	return nil
}

func (r *cutRegistry) Register(s *registry.Service, opts ...registry.RegisterOption) error {
	if err := r.err(); err != nil {
		return err
	}
	return r.Registry.Register(s, opts...)
}

func (r *cutRegistry) GetService(name string, opts ...registry.GetOption) ([]*registry.Service, error) {
	if err := r.err(); err != nil {
		return nil, err
	}
	return r.Registry.GetService(name, opts...)
}

func (r *cutRegistry) ListServices(opts ...registry.ListOption) ([]*registry.Service, error) {
	if err := r.err(); err != nil {
		return nil, err
	}
	return r.Registry.ListServices(opts...)
}

func (r *cutRegistry) Watch(opts ...registry.WatchOption) (registry.Watcher, error) {
	if err := r.err(); err != nil {
		return nil, err
	}
	w, err := r.Registry.Watch(opts...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watchers = append(r.watchers, w)
	return w, err
}

// memory is a world on a registry in memory, with discovery-srv beside it.
func memory(t *testing.T) discoverytest.World {
	net := rpctest.New(t)
	reg := &cutRegistry{Registry: net.Registry}
	net.Boot(discoverysrv.Service())
	c := net.Client(rpctest.GRPC)
	return discoverytest.World{
		New: func(t testing.TB, opts ...discovery.Option) discovery.Discovery {
			return discovery.NewDiscovery(append([]discovery.Option{
				discovery.Registry(reg), discovery.Client(c), discovery.Logger(rpctest.Logger(t)),
			}, opts...)...)
		},
		Kill:    func(testing.TB) { reg.set(true) },
		Restart: func(testing.TB) { reg.set(false) },
	}
}

// The suites wait most of the time, each in worlds of its own.
func TestMemory(t *testing.T) {
	t.Parallel()
	discoverytest.Run(t, memory(t).New)
	discoverytest.RunLeases(t, memory(t))
}

// alone is a world on a registry of the backends, without discovery-srv.
func alone(srv *backend.Server, open func() registry.Registry) discoverytest.World {
	return discoverytest.World{
		New: func(t testing.TB, opts ...discovery.Option) discovery.Discovery {
			return discovery.NewDiscovery(append([]discovery.Option{
				discovery.Registry(open()), discovery.EnableDiscovery(false), discovery.Logger(rpctest.Logger(t)),
			}, opts...)...)
		},
		Kill:    func(t testing.TB) { srv.Kill(t) },
		Restart: func(t testing.TB) { srv.Restart(t) },
	}
}

// Each suite has a Consul, as with TestStandalone.
func TestConsul(t *testing.T) {
	t.Parallel()
	world := func() discoverytest.World {
		srv := backend.Consul(t)
		return alone(srv, func() registry.Registry { return consul.NewConsulRegistry(registry.Addrs(srv.Addr)) })
	}
	discoverytest.Run(t, world().New)
	discoverytest.RunLeases(t, world())
	t.Run("Preservation", func(t *testing.T) { discoverytest.RunPreservation(t, world().New) })
}

func TestEtcd(t *testing.T) {
	t.Parallel()
	if os.Getenv(inChild) == "" {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestEtcd$", "-test.v")
		cmd.Env = append(os.Environ(), inChild+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	srv := backend.Etcd(t)
	world := alone(srv, func() registry.Registry { return etcd.NewEtcdRegistry(registry.Addrs(srv.Addr)) })
	discoverytest.Run(t, world.New)
	discoverytest.RunLeases(t, world)
}

// srv is a discovery-srv in this process that is the registry itself, at an
// address that it keeps.
type srv struct {
	t       *testing.T
	address string
	set     discoverysrv.Settings
	running *daemon.Running
}

func boot(t *testing.T, address string, set discoverysrv.Settings) *srv {
	t.Helper()
	s := &srv{t: t, address: address, set: set}
	s.start()
	t.Cleanup(s.stop)
	return s
}

// start boots it with an empty memory.
func (s *srv) start() {
	s.t.Helper()
	brk, err := membroker.New()
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s.running, err = daemon.Start(ctx, discoverysrv.NewService(s.set), daemon.Config{
		Address: s.address, Broker: brk, Logger: rpctest.Logger(s.t), Insecure: true,
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *srv) stop() {
	if s.running == nil {
		return
	}
	if err := s.running.Stop(); err != nil {
		s.t.Error(err)
	}
	s.running = nil
}

func plugin(t testing.TB, addresses []string, opts ...discovery.Option) discovery.Discovery {
	return discovery.NewDiscovery(append([]discovery.Option{
		discovery.Addresses(addresses...), discovery.Logger(rpctest.Logger(t)), discovery.Interval(discoverytest.Interval),
	}, opts...)...)
}

// standalone is a world whose registry is discovery-srv.
func standalone(t *testing.T) discoverytest.World {
	srv := boot(t, backend.Address(t), discoverysrv.Settings{})
	return discoverytest.World{
		New: func(t testing.TB, opts ...discovery.Option) discovery.Discovery {
			return plugin(t, []string{srv.address}, opts...)
		},
		Kill:    func(testing.TB) { srv.stop() },
		Restart: func(testing.TB) { srv.start() },
	}
}

// Each suite has a world: what processes of the first left behind would count
// among those that died in the second.
func TestStandalone(t *testing.T) {
	t.Parallel()
	discoverytest.Run(t, standalone(t).New)
	discoverytest.RunLeases(t, standalone(t))
	t.Run("Preservation", func(t *testing.T) { discoverytest.RunPreservation(t, standalone(t).New) })
}

// started starts a plugin that is stopped when the test ends.
func started(t *testing.T, d discovery.Discovery) discovery.Discovery {
	t.Helper()
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func found(d registry.Registry, service string) (ids []string) {
	services, err := d.GetService(service)
	if err != nil {
		return nil
	}
	for _, s := range services {
		for _, n := range s.Nodes {
			ids = append(ids, n.Id)
		}
	}
	slices.Sort(ids)
	return ids
}
