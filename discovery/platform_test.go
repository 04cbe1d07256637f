package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"
	"go-micro.dev/v6/server"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/micro/go-platform/discovery"
	"github.com/micro/go-platform/discovery/discoverytest"
	discoverysrv "github.com/micro/go-platform/discovery/internal/srv"
	pb "github.com/micro/go-platform/discovery/proto"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/membroker"
	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
)

func shop(ids ...string) *registry.Service {
	s := &registry.Service{Name: "shop", Version: "v1"}
	for _, id := range ids {
		s.Nodes = append(s.Nodes, &registry.Node{Id: id, Address: "127.0.0.1:9"})
	}
	return s
}

func register(t *testing.T, r registry.Registry, s *registry.Service) {
	t.Helper()
	if err := r.Register(s); err != nil {
		t.Fatal(err)
	}
}

func eventuallyFound(t *testing.T, r registry.Registry, service string, want ...string) {
	t.Helper()
	rpctest.Eventually(t, fmt.Sprint(service, " has the nodes ", want), func() bool { return slices.Equal(found(r, service), want) })
}

// api calls a discovery-srv as anybody could.
type api struct {
	pb.RegistryService
	pb.DiscoveryService
	address client.CallOption
}

func ask(t *testing.T, address string) api {
	t.Helper()
	c := rpc.NewClient(rpc.Config{Registry: memreg.New()})
	t.Cleanup(c.Close)
	return api{
		pb.NewRegistryService(discovery.ServiceName, c), pb.NewDiscoveryService(discovery.ServiceName, c), client.WithAddress(address),
	}
}

func (a api) status(t *testing.T) *pb.StatusResponse {
	t.Helper()
	rsp, err := a.Status(t.Context(), &pb.StatusRequest{}, a.address)
	if err != nil {
		t.Fatal(err)
	}
	return rsp
}

// A server that lost its memory knows everybody again within two intervals.
func TestServerRestartedEmpty(t *testing.T) {
	const interval = 2 * time.Second
	srv := boot(t, backend.Address(t), discoverysrv.Settings{})
	d := started(t, plugin(t, []string{srv.address}, discovery.Interval(interval)))
	register(t, d, shop("1", "2", "3"))
	srv.stop()
	srv.start()
	begun := time.Now()
	newcomer := started(t, plugin(t, []string{srv.address}))
	eventuallyFound(t, newcomer, "shop", "1", "2", "3")
	took := time.Since(begun)
	t.Logf("known again after %v, %.1f intervals", took.Round(time.Millisecond), took.Seconds()/interval.Seconds())
	if took > 2*interval+5*time.Second { // for a machine that is busy
		t.Errorf("it took %v", took)
	}
}

// Both nodes of a cluster take registrations; either may die.
func TestWriteNodesStandInForEachOther(t *testing.T) {
	one, two := backend.Address(t), backend.Address(t)
	a := boot(t, one, discoverysrv.Settings{Role: "write", Peers: []string{two}, Secret: "cluster"})
	boot(t, two, discoverysrv.Settings{Role: "write", Peers: []string{one}, Secret: "cluster"})
	d := started(t, plugin(t, []string{one, two}))
	other := started(t, plugin(t, []string{two}))
	register(t, d, shop("1"))
	eventuallyFound(t, other, "shop", "1")
	a.stop()
	register(t, d, shop("2"))
	eventuallyFound(t, other, "shop", "1", "2")
	eventuallyFound(t, d, "shop", "1", "2")
	a.start() // empty
	direct := started(t, plugin(t, []string{one}))
	eventuallyFound(t, direct, "shop", "1", "2")
	if err := d.Deregister(shop("1")); err != nil {
		t.Fatal(err)
	}
	for _, p := range []discovery.Discovery{d, other, direct} {
		eventuallyFound(t, p, "shop", "2")
	}
}

// Reads survive the write layer, and either replica.
func TestReadReplicas(t *testing.T) {
	w, r1, r2 := backend.Address(t), backend.Address(t), backend.Address(t)
	writer := boot(t, w, discoverysrv.Settings{Role: "write", Secret: "cluster"})
	first := boot(t, r1, discoverysrv.Settings{Role: "read", Peers: []string{w}, Secret: "cluster"})
	boot(t, r2, discoverysrv.Settings{Role: "read", Peers: []string{w}, Secret: "cluster"})
	d := started(t, plugin(t, []string{r1, r2, w}))
	register(t, d, shop("1", "2")) // the replicas refuse, the writer takes it
	for _, r := range []string{r1, r2} {
		eventuallyFound(t, started(t, plugin(t, []string{r})), "shop", "1", "2")
	}
	writer.stop()
	silence := time.Now().Add(4 * discoverytest.Interval)
	rpctest.Eventually(t, "more than a lease's silence has passed", func() bool { return time.Now().After(silence) })
	eventuallyFound(t, started(t, plugin(t, []string{r1, r2})), "shop", "1", "2")
	first.stop()
	eventuallyFound(t, started(t, plugin(t, []string{r1, r2})), "shop", "1", "2")
	writer.start() // empty
	register(t, d, shop("3"))
	for _, address := range []string{w, r2} {
		eventuallyFound(t, started(t, plugin(t, []string{address})), "shop", "1", "2", "3")
	}
}

func TestClusterSecret(t *testing.T) {
	w, r := backend.Address(t), backend.Address(t)
	boot(t, w, discoverysrv.Settings{Secret: "cluster"})
	boot(t, r, discoverysrv.Settings{Role: "read", Peers: []string{w}, Secret: "guessed"})
	stream, err := ask(t, w).Replicate(t.Context(), &pb.ReplicateRequest{Secret: "guessed"}, client.WithAddress(w))
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("a stranger follows: %v", err)
	}
	if ask(t, r).status(t).Peers[0].Connected {
		t.Error("a stranger follows")
	}
}

// A stranger cannot take a node over, take it out, or keep it in.
func TestStrangersAreRefused(t *testing.T) {
	srv := boot(t, backend.Address(t), discoverysrv.Settings{})
	d := started(t, plugin(t, []string{srv.address}))
	register(t, d, shop("1"))
	stranger := ask(t, srv.address)
	for _, secret := range []string{"", "guessed"} {
		evil := pb.FromService(shop("1"))
		evil.Nodes[0].Port = 666
		_, err := stranger.Register(t.Context(), &pb.RegisterRequest{Service: evil, Secret: secret}, stranger.address)
		if code := call.Code(err); code != 403 {
			t.Errorf("take over with secret %q: %v", secret, err)
		}
		_, err = stranger.Deregister(t.Context(), &pb.DeregisterRequest{Service: evil, Secret: secret}, stranger.address)
		if code := call.Code(err); code != 403 {
			t.Errorf("deregister with secret %q: %v", secret, err)
		}
		rsp, err := stranger.Renew(t.Context(), &pb.RenewRequest{Leases: []*pb.Lease{{Service: "shop", Version: "v1", Node: "1", Secret: secret}}}, stranger.address)
		if err != nil || len(rsp.Refused) != 1 {
			t.Errorf("renew with secret %q: %v, %v", secret, rsp, err)
		}
	}
	rival := started(t, plugin(t, []string{srv.address}))
	if err := rival.Register(shop("1")); !errors.Is(err, discovery.ErrForbidden) {
		t.Errorf("a rival's node of this id: %v", err)
	}
	for name, address := range map[string]string{"metadata": "169.254.169.254:80", "link-local": "[fe80::1]:80", "no port": "10.0.0.1"} {
		s := shop("9")
		s.Nodes[0].Address = address
		if err := d.Register(s); !errors.Is(err, discovery.ErrInvalid) {
			t.Errorf("%s address: %v", name, err)
		}
	}
	worse := shop("1")
	worse.Nodes[0].Address = "169.254.169.254:80"
	if err := d.Register(worse); !errors.Is(err, discovery.ErrInvalid) {
		t.Error(err)
	}
	eventuallyFound(t, d, "shop", "1")
	if got, err := d.GetService("shop"); err != nil || got[0].Nodes[0].Address != "127.0.0.1:9" {
		t.Errorf("a refused registration changed something: %v", err)
	}
}

// The same process under the same id and secret takes its lease over at once.
func TestReturnWithTheSameSecret(t *testing.T) {
	srv := boot(t, backend.Address(t), discoverysrv.Settings{})
	first := started(t, plugin(t, []string{srv.address}, discovery.Secret("mine"), discovery.Interval(time.Minute)))
	register(t, first, shop("1"))
	second := started(t, plugin(t, []string{srv.address}, discovery.Secret("mine"), discovery.Interval(time.Minute)))
	register(t, second, shop("1"))
}

// beside is a registry in memory with discovery-srv beside it.
func beside(t *testing.T) (*rpctest.Net, api) {
	net := rpctest.New(t)
	srv := net.Boot(discoverysrv.Service())
	return net, ask(t, srv.Address())
}

func onTop(t *testing.T, net *rpctest.Net, c client.Client, opts ...discovery.Option) discovery.Discovery {
	return started(t, discovery.NewDiscovery(append([]discovery.Option{
		discovery.Registry(net.Registry), discovery.Client(c), discovery.Logger(rpctest.Logger(t)), discovery.Interval(discoverytest.Interval),
	}, opts...)...))
}

// unheard is a client whose heartbeats by RPC do not arrive.
type unheard struct{ client.Client }

func (c unheard) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	if req.Endpoint() == "Registry.Renew" {
		return merrors.New("go.micro.client", "connection refused", 503)
	}
	return c.Client.Call(ctx, req, rsp, opts...)
}

func TestHeartbeatsByTopic(t *testing.T) {
	net, srv := beside(t)
	d := onTop(t, net, unheard{net.Client(rpctest.GRPC)})
	register(t, d, shop("1"))
	heartbeats := func() *pb.HeartbeatsResponse {
		rsp, err := srv.Heartbeats(t.Context(), &pb.HeartbeatsRequest{Service: "shop"}, srv.address)
		if err != nil {
			t.Fatal(err)
		}
		return rsp
	}
	first := heartbeats().Heartbeats[0].Beat
	longer := time.Now().Add((discovery.TTLIntervals + 1) * discoverytest.Interval)
	rpctest.Eventually(t, "heartbeats came by topic for longer than a lease", func() bool {
		return heartbeats().Heartbeats[0].Beat >= first+10 && time.Now().After(longer)
	})
	if n := srv.status(t).Expired; n != 0 {
		t.Errorf("%d leases expired", n)
	}
	// A forger keeps nobody alive, not with an old heartbeat either.
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	forger := net.Client(rpctest.GRPC)
	rpctest.Eventually(t, "the dead node expired", func() bool {
		for _, beat := range []uint64{0, first, ^uint64(0)} {
			forged := &pb.Heartbeat{Id: "1", Service: pb.FromService(shop("1")), Beat: beat, Proof: pb.Proof(pb.Key("guessed"), "shop", "v1", "1", beat)}
			if err := forger.Publish(t.Context(), forger.NewMessage(discovery.HeartbeatTopic, forged)); err != nil {
				t.Fatal(err)
			}
		}
		return srv.status(t).Expired == 1
	})
}

// The registry's own lease lasts five intervals; discovery-srv takes a dead node
// out of the registry after less than three, but none that another registrant's
// lease names.
func TestDeadNodesLeaveTheRegistry(t *testing.T) {
	const interval = 2 * time.Second
	net, srv := beside(t)
	d := onTop(t, net, net.Client(rpctest.GRPC), discovery.Interval(interval))
	register(t, d, shop("1"))
	plain := onTop(t, net, net.Client(rpctest.GRPC), discovery.EnableDiscovery(false))
	register(t, plain, shop("2"))
	_, err := srv.Register(t.Context(), &pb.RegisterRequest{Service: pb.FromService(shop("2")), Secret: "evil", TtlMs: 20}, srv.address)
	if err != nil {
		t.Fatal(err)
	}
	eventuallyFound(t, plain, "shop", "1", "2")
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	eventuallyFound(t, net.Registry, "shop", "2")
	took := time.Since(begun)
	t.Logf("gone after %v, %.1f intervals", took.Round(time.Millisecond), took.Seconds()/interval.Seconds())
	if took > 4*interval+5*time.Second { // less than the lease of the registry, on a machine that is busy too
		t.Errorf("gone only after %v", took)
	}
	rpctest.Eventually(t, "the stranger's lease expired too", func() bool { return srv.status(t).Expired == 2 })
	if got := found(net.Registry, "shop"); !slices.Equal(got, []string{"2"}) {
		t.Errorf("nodes %v", got)
	}
}

// A watcher lives on through a restart of the server and is told what changed.
func TestWatchersReconnect(t *testing.T) {
	srv := boot(t, backend.Address(t), discoverysrv.Settings{})
	d := started(t, plugin(t, []string{srv.address}))
	w, err := d.Watch()
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen := map[string]bool{}
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			r, err := w.Next()
			if err != nil {
				if !errors.Is(err, registry.ErrWatcherStopped) {
					t.Error(err)
				}
				return
			}
			mu.Lock()
			for _, n := range r.Service.Nodes {
				if r.Action == "delete" {
					seen[n.Id+" left"] = true
				} else { // an update when it was there before the watcher was back
					seen[n.Id+" is there"] = true
				}
			}
			mu.Unlock()
		}
	})
	told := func(what string) {
		t.Helper()
		rpctest.Eventually(t, what, func() bool { mu.Lock(); defer mu.Unlock(); return seen[what] })
	}
	register(t, d, shop("1"))
	told("1 is there")
	srv.stop()
	_ = d.Register(shop("2")) // remembered
	srv.start()
	told("2 is there")
	if err := d.Deregister(shop("1")); err != nil {
		t.Fatal(err)
	}
	told("1 left")
	w.Stop()
	reader.Wait()
}

// An orderly leave is seen by a cache whose stream was cut while it happened.
func TestTombstonesAreNotMissed(t *testing.T) {
	one, two := backend.Address(t), backend.Address(t)
	boot(t, one, discoverysrv.Settings{Peers: []string{two}})
	b := boot(t, two, discoverysrv.Settings{Peers: []string{one}})
	d := started(t, plugin(t, []string{one}))
	reader := started(t, plugin(t, []string{two, one}))
	register(t, d, shop("1", "2"))
	eventuallyFound(t, reader, "shop", "1", "2")
	b.stop()
	if err := d.Deregister(shop("1", "2")); err != nil {
		t.Fatal(err)
	}
	eventuallyFound(t, reader, "shop")
}

// go-micro's own clients and servers work on the plugin, and a node that drains
// gets no calls though the client's selector remembers it for a minute.
func TestMicroServices(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		srv := boot(t, backend.Address(t), discoverysrv.Settings{})
		brk, err := membroker.New()
		if err != nil {
			t.Fatal(err)
		}
		net := rpctest.New(t)
		serve := func(id string) discovery.Discovery {
			d := started(t, plugin(t, []string{srv.address}))
			s := net.Server(stack, "greeter", server.Id(id), server.Registry(d), server.Broker(brk))
			if err := echo.RegisterEchoHandler(s, &named{id: id}); err != nil {
				t.Fatal(err)
			}
			net.Start(s)
			return d
		}
		one := serve("one")
		serve("two")
		mine := started(t, plugin(t, []string{srv.address}))
		eventuallyFound(t, mine, "greeter", "greeter-one", "greeter-two")
		sel := selector.NewSelector(selector.Registry(mine))
		t.Cleanup(func() { _ = sel.Close() }) // the test is over
		c := discovery.ClientWrapper(mine)(net.Client(stack, func(c client.Client) client.Client { return c }))
		if err := c.Init(client.Selector(sel), client.Registry(mine)); err != nil {
			t.Fatal(err)
		}
		greeter := echo.NewEchoService("greeter", c)
		answers := func() map[string]int {
			got := map[string]int{}
			for range 20 {
				rsp, err := greeter.Call(t.Context(), &echo.Request{})
				if err != nil {
					t.Fatal(err)
				}
				got[rsp.Text]++
			}
			return got
		}
		rpctest.Eventually(t, "both answer", func() bool { return len(answers()) == 2 })
		if err := one.Drain(); err != nil {
			t.Fatal(err)
		}
		eventuallyFound(t, mine, "greeter", "greeter-two")
		if got := answers(); got["one"] > 0 {
			t.Errorf("a draining node got %d calls", got["one"])
		}
	})
}

// named answers with its name.
type named struct {
	rpctest.Echo
	id string
}

func (n *named) Call(_ context.Context, _ *echo.Request, rsp *echo.Response) error {
	rsp.Text = n.id
	return nil
}

func TestGoroutinesDoNotGrow(t *testing.T) {
	srv := boot(t, backend.Address(t), discoverysrv.Settings{})
	owner := started(t, plugin(t, []string{srv.address}, discovery.Interval(time.Second)))
	const services = 1000
	for i := range services {
		s := shop("1")
		s.Name = fmt.Sprint("shop", i)
		register(t, owner, s)
	}
	reader := started(t, plugin(t, []string{srv.address}))
	if _, err := reader.GetService("shop0"); err != nil { // connections are open
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	for i := range services {
		if _, err := reader.GetService(fmt.Sprint("shop", i)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d goroutines with 1 service, %d with %d", before, runtime.NumGoroutine(), services)
	// Another connection of the pool costs a few; go-micro's cache costs two a service.
	rpctest.Eventually(t, "few goroutines were added", func() bool { return runtime.NumGoroutine() <= before+50 })
	all, err := reader.ListServices()
	if err != nil || len(all) != services+1 { // and go.micro.srv.discovery
		t.Errorf("%d services, %v", len(all), err)
	}
}

func TestContext(t *testing.T) {
	d := discovery.NewDiscovery(discovery.Addresses("127.0.0.1:1"))
	if got, ok := discovery.FromContext(discovery.NewContext(t.Context(), d)); !ok || got != d {
		t.Error(got, ok)
	}
	if _, ok := discovery.FromContext(t.Context()); ok {
		t.Error("found in an empty context")
	}
}

// A client without a broker cannot publish, which is not a reason to panic.
func TestClientWithoutBroker(t *testing.T) {
	c := rpc.NewClient(rpc.Config{Registry: memreg.New()})
	t.Cleanup(c.Close)
	srv := boot(t, backend.Address(t), discoverysrv.Settings{})
	d := started(t, plugin(t, []string{srv.address}, discovery.Client(c)))
	register(t, d, shop("1"))
	srv.stop()
	pause := time.Now().Add(3 * discoverytest.Interval)
	rpctest.Eventually(t, "heartbeats have failed", func() bool { return time.Now().After(pause) })
	srv.start()
	eventuallyFound(t, started(t, plugin(t, []string{srv.address})), "shop", "1")
}

// Everything works before a server exists.
func TestStartWithoutServer(t *testing.T) {
	address := backend.Address(t)
	d := started(t, plugin(t, []string{address}))
	if err := d.Register(shop("1")); !errors.Is(err, discovery.ErrUnavailable) {
		t.Errorf("register while nobody is there: %v", err)
	}
	if _, err := d.GetService("shop"); !errors.Is(err, discovery.ErrUnavailable) {
		t.Errorf("ask while nobody is there: %v", err)
	}
	boot(t, address, discoverysrv.Settings{})
	eventuallyFound(t, d, "shop", "1")
}

// A thousand processes that began together do not send together for ever.
func TestHeartbeatsAreJittered(t *testing.T) {
	const interval = time.Second
	least, most := interval, time.Duration(0)
	for range 1000 {
		d := discovery.Pace(interval)
		least, most = min(least, d), max(most, d)
	}
	if least < interval*4/5 || most > interval || most-least < interval/10 {
		t.Errorf("%v to %v", least, most)
	}
}
