package e2e_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"

	"go-micro.dev/v6/client"
	mgrpc "go-micro.dev/v6/client/grpc"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/discovery"
	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/kv"
	"github.com/micro/go-platform/monitor"
	"github.com/micro/go-platform/router"
	"github.com/micro/go-platform/trace"
)

// seen counts the calls and streams that go through a client.
type seen struct {
	client.Client
	n *atomic.Int64
}

func (c *seen) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	c.n.Add(1)
	return c.Client.Call(ctx, req, rsp, opts...)
}

func (c *seen) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	c.n.Add(1)
	return c.Client.Stream(ctx, req, opts...)
}

// plugin is a default plugin and one use of it, which need not succeed.
type plugin struct {
	use  func()
	stop func() error
}

func (p plugin) end() { _ = p.stop() } // there is no service: what is lost is not the question

// clientPlugins returns the default plugins that call a service, or other members,
// by a client.
func clientPlugins(t *testing.T, net *rpctest.Net, quiet *slog.Logger) map[string]func(client.Client) plugin {
	node := &registry.Node{Id: "shop-1", Address: "127.0.0.1:1"}
	shop := &registry.Service{Name: "shop", Version: "v1", Nodes: []*registry.Node{node}}
	return map[string]func(client.Client) plugin{
		"auth": func(c client.Client) plugin {
			a := auth.NewAuth(auth.Client(c), auth.Id("shop"), auth.Secret("secret"), auth.Logger(quiet))
			return plugin{func() { _, _ = a.Token() }, a.Stop}
		},
		"config": func(c client.Client) plugin {
			s := config.NewSource(config.SourceClient(c))
			return plugin{func() { _, _ = s.Read() }, func() error { return nil }}
		},
		"db": func(c client.Client) plugin {
			d := db.NewDB(db.Client(c))
			return plugin{func() { _, _ = d.Read("x") }, d.Stop}
		},
		"discovery": func(c client.Client) plugin {
			d := discovery.NewDiscovery(discovery.Client(c), discovery.Registry(memreg.New()), discovery.Logger(quiet))
			return plugin{func() { _ = d.Register(shop) }, d.Stop}
		},
		"event": func(c client.Client) plugin {
			e := event.NewEvent(event.Client(c), event.Logger(quiet))
			return plugin{func() { _ = e.Publish(t.Context(), &event.Record{Type: "x"}) }, e.Stop}
		},
		"kv": func(c client.Client) plugin {
			other := *shop
			other.Name, other.Nodes = "store", []*registry.Node{{Id: "store-1", Address: "127.0.0.1:1"}}
			if err := net.Registry.Register(&other); err != nil {
				t.Error(err)
			}
			s := net.Server(rpctest.GRPC, "store")
			k := kv.NewKV(kv.Client(c), kv.Server(s), kv.Suspicion(kv.DefaultSuspicion/10), kv.Logger(quiet))
			return plugin{func() { _, _ = k.Get("x") }, k.Stop}
		},
		"monitor": func(c client.Client) plugin {
			s := server.NewServer(server.Name("shop"), server.Registry(memreg.New()))
			m := monitor.NewMonitor(monitor.Client(c), monitor.Server(s), monitor.Logger(quiet))
			return plugin{func() { _ = m.Start() }, m.Stop}
		},
		"router": func(c client.Client) plugin {
			if err := net.Registry.Register(shop); err != nil {
				t.Error(err)
			}
			r := router.NewRouter(selector.Registry(net.Registry), router.Client(c), router.Logger(quiet))
			return plugin{func() { _, _ = r.Select("shop") }, r.Stop}
		},
		"trace": func(c client.Client) plugin {
			tr := trace.NewTrace(trace.Client(c), trace.Logger(quiet), trace.BatchSize(1))
			return plugin{func() { _ = tr.Collect(tr.NewSpan(nil)) }, tr.Stop}
		},
	}
}

// The wrappers that a service's client was made with (micro.WrapClient) see the
// calls of each default plugin that is given this client, whatever its stack.
func TestWrappersOfTheClientSeeThePlugins(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		net := rpctest.New(t)
		quiet := slog.New(slog.DiscardHandler)
		for name, make := range clientPlugins(t, net, quiet) {
			var n atomic.Int64
			o := net.Client(stack).Options()
			opts := []client.Option{client.Registry(o.Registry), client.Selector(o.Selector), client.Broker(o.Broker),
				client.Wrap(func(c client.Client) client.Client { return &seen{c, &n} })}
			user := client.NewClient(opts...)
			if stack == rpctest.GRPC {
				user = mgrpc.NewClient(opts...)
			}
			p := make(user)
			p.use()
			rpctest.Eventually(t, name+" is seen by the wrapper", func() bool { return n.Load() > 0 })
			p.end()
		}
	})
}
