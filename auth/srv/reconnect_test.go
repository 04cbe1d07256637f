package srv_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/auth"
	authpb "github.com/micro/go-platform/auth/proto"
	authsrv "github.com/micro/go-platform/auth/srv"
	"github.com/micro/go-platform/config"
	configpb "github.com/micro/go-platform/config/proto"
	configsrv "github.com/micro/go-platform/config/srv"
	"github.com/micro/go-platform/discovery"
	discoverysrv "github.com/micro/go-platform/discovery/srv"
	"github.com/micro/go-platform/event"
	eventsrv "github.com/micro/go-platform/event/srv"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
)

// heard collects what arrives, from several goroutines.
type heard struct {
	mu  sync.Mutex
	all []string
}

func (h *heard) add(s string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, s)
}

func (h *heard) has(s string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Contains(h.all, s)
}

func (h *heard) list() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all)
}

// Streams end with the tokens that they began with. Our plugins open others, and
// nothing is lost between the two: not an event, a configuration or a node.
func TestPluginsOutliveTheirTokens(t *testing.T) {
	net, dir := rpctest.New(t), t.TempDir()
	secure := func(c *daemon.Config) { c.Insecure, c.DataDir = false, dir }
	issuer := net.Boot(authsrv.New(authsrv.Config{}), secure)
	registrySrv := net.Boot(discoverysrv.New(), secure, func(c *daemon.Config) { c.Registry, c.AuthAddresses = nil, []string{issuer.Address()} })
	net.Boot(configsrv.New(), secure)
	net.Boot(eventsrv.New(), secure)
	authed := admin(t, net, secure)
	accounts, policies := authpb.NewAccountService(auth.ServiceName, authed), authpb.NewPolicyService(auth.ServiceName, authed)
	const secret = "a secret of a test"
	opts := rpc.Options(rpc.DefaultTimeout)
	if _, err := accounts.Create(context.Background(), &authpb.CreateRequest{Account: &authpb.Record{Id: "shop", Type: "service", ClientSecret: secret}}, opts...); err != nil {
		t.Fatal(err)
	}
	if _, err := policies.Create(context.Background(), &authpb.PolicyCreateRequest{
		Rule: &authpb.Rule{Id: "shop", Effect: "allow", Accounts: []string{"shop"}, Services: []string{event.ServiceName, config.ServiceName}},
	}, opts...); err != nil {
		t.Fatal(err)
	}
	a := auth.NewAuth(auth.Id("shop"), auth.Secret(secret), auth.Client(net.Client(rpctest.GRPC)), auth.Logger(net.Logger))
	t.Cleanup(func() { _ = a.Stop() }) // the test is over
	shop := net.Client(rpctest.GRPC, auth.ClientWrapper(a))
	var events, configs, nodes heard
	events.follow(t, shop)
	say := configs.watch(t, authed, shop)
	nodes.watchNodes(t, a, registrySrv.Address())

	boss := adminAuth(t, net, secure)
	publisher, servers := event.NewEvent(event.Client(authed)), discovery.NewDiscovery(
		discovery.Addresses(registrySrv.Address()), discovery.Wrap(func(c client.Client) client.Client { return auth.ClientWrapper(boss)(c) }))
	t.Cleanup(func() { _, _ = publisher.Stop(), servers.Stop() }) // the test is over
	if err := errors.Join(publisher.Start(), servers.Start()); err != nil {
		t.Fatal(err)
	}
	var want []string
	happens := func(round, i int) {
		t.Helper()
		name := fmt.Sprintf("%d-%02d", round, i)
		want = append(want, name)
		if err := publisher.Publish(context.Background(), &event.Record{Type: "test", Data: name}); err != nil {
			t.Fatal(err)
		}
		if err := servers.Register(&registry.Service{Name: authsrv.AdminID, Nodes: []*registry.Node{{Id: name, Address: "127.0.0.1:1"}}}); err != nil {
			t.Fatal(err)
		}
		say(name)
	}
	arrived := func() {
		t.Helper()
		last := want[len(want)-1]
		rpctest.Eventually(t, "all that happened arrives", func() bool {
			for _, name := range want {
				if !events.has(name) || !nodes.has(name) {
					return false
				}
			}
			return configs.has(last)
		})
	}
	rpctest.Eventually(t, "what is followed arrives", func() bool {
		happens(0, len(want))
		return events.has(want[len(want)-1]) && configs.has(want[len(want)-1]) && nodes.has(want[len(want)-1])
	})
	want = want[len(want)-1:] // nobody promised those before
	for round := 1; round <= 2; round++ {
		// The same secret again: every token of the account is void, and it may have others.
		if _, err := accounts.Update(context.Background(), &authpb.UpdateRequest{
			Account: &authpb.Record{Id: "shop", ClientSecret: secret}, Fields: []string{"client_secret"},
		}, opts...); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			happens(round, i)
		}
		arrived()
	}
	in := slices.DeleteFunc(events.list(), func(s string) bool { return s < "1" })
	if !slices.Equal(in, want[1:]) {
		t.Errorf("events came as %v", in)
	}
}

func (h *heard) follow(t *testing.T, c client.Client) {
	t.Helper()
	e := event.NewEvent(event.Client(c))
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = e.Subscribe(ctx, func(r *event.Record) { h.add(r.Data) }, "test") }) // it ends with ctx
	t.Cleanup(func() { cancel(); done.Wait(); _ = e.Stop() })                                 // the test is over
}

// watch follows a config and returns what changes it.
func (h *heard) watch(t *testing.T, admin, c client.Client) (say func(string)) {
	t.Helper()
	api := configpb.NewConfigService(config.ServiceName, admin)
	say = func(name string) {
		t.Helper()
		change := &configpb.Change{Id: config.DefaultSourceName, Path: "name", ChangeSet: &configpb.ChangeSet{Data: fmt.Sprintf("%q", name), Format: "json"}}
		if _, err := api.Update(context.Background(), &configpb.UpdateRequest{Change: change}, rpc.Options(rpc.DefaultTimeout)...); err != nil {
			t.Fatal(err)
		}
	}
	first := &configpb.Change{Id: config.DefaultSourceName, ChangeSet: &configpb.ChangeSet{Data: `{"name": "first"}`, Format: "json"}}
	if _, err := api.Create(context.Background(), &configpb.CreateRequest{Change: first}, rpc.Options(rpc.DefaultTimeout)...); err != nil {
		t.Fatal(err)
	}
	conf := config.NewConfig(config.WithClient(c), config.PollInterval(time.Hour))
	if err := conf.Start(); err != nil {
		t.Fatal(err)
	}
	w, err := conf.Watch("name")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			v, err := w.Next()
			if err != nil {
				return
			}
			h.add(v.String(""))
		}
	})
	t.Cleanup(func() { _, _ = w.Stop(), conf.Stop(); done.Wait() }) // the test is over
	return say
}

func (h *heard) watchNodes(t *testing.T, a auth.Auth, address string) {
	t.Helper()
	d := discovery.NewDiscovery(discovery.Addresses(address), discovery.Wrap(func(c client.Client) client.Client { return auth.ClientWrapper(a)(c) }))
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	w, err := d.Watch()
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			r, err := w.Next()
			if err != nil {
				return
			}
			for _, n := range r.Service.Nodes {
				h.add(n.Id)
			}
		}
	})
	t.Cleanup(func() { w.Stop(); _ = d.Stop(); done.Wait() }) // the test is over
}
