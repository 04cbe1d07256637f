package router_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go-micro.dev/v6/client"
	"go-micro.dev/v6/errors"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"github.com/micro/go-platform/router"
)

// world is a network with a caller whose client has a router.
type world struct {
	*rpctest.Net
	t      *testing.T
	stack  string
	router router.Router
	client client.Client
	losses *atomic.Int64 // tries that go-micro's rpc stack lost
}

// newWorld makes the caller: with ClientWrapper, and without router-srv unless
// an option says otherwise.
func newWorld(t *testing.T, stack string, opts ...selector.Option) *world {
	t.Helper()
	net := rpctest.New(t)
	w := &world{Net: net, t: t, stack: stack, losses: &atomic.Int64{}}
	w.router = router.NewRouter(append([]selector.Option{
		selector.Registry(net.Registry), router.Logger(net.Logger), router.Standalone(),
		router.Server(net.Server(stack, "caller")),
	}, opts...)...)
	// Not w: a test keeps its clean-ups, and rpc clients go with the garbage.
	r := w.router
	t.Cleanup(func() { _ = r.Stop() }) // tests that care look at the first Stop
	w.client = net.ClientOf(stack, w.router, impatient, noting(stack, w.losses), router.ClientWrapper(w.router))
	return w
}

// impatient shortens the time that go-micro's rpc stack waits for an answer it
// lost, five seconds otherwise.
func impatient(c client.Client) client.Client { return &impatientClient{c} }

type impatientClient struct{ client.Client }

func (c *impatientClient) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	short := func(o *client.CallOptions) { o.ConnectionTimeout = time.Second }
	return c.Client.Call(ctx, req, rsp, append(opts[:len(opts):len(opts)], short)...)
}

// noting counts the tries that the rpc stack lost, also those that another
// try made good.
func noting(stack string, losses *atomic.Int64) client.Wrapper {
	note := client.WithCallWrapper(func(next client.CallFunc) client.CallFunc {
		return func(ctx context.Context, n *registry.Node, req client.Request, rsp any, opts client.CallOptions) error {
			err := next(ctx, n, req, rsp, opts)
			if rpctest.Lost(stack, err) {
				losses.Add(1)
			}
			return err
		}
	})
	return func(c client.Client) client.Client { return &notingClient{c, note} }
}

type notingClient struct {
	client.Client
	note client.CallOption
}

func (c *notingClient) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	return c.Client.Call(ctx, req, rsp, append(opts[:len(opts):len(opts)], c.note)...)
}

func (w *world) echo(name string) echo.EchoService { return echo.NewEchoService(name, w.client) }

// node is an Echo server that answers with its name and counts its calls.
type node struct {
	rpctest.Echo
	id     string
	calls  atomic.Int64
	fail   atomic.Int32 // code that calls and streams end with
	delay  atomic.Int64
	server server.Server
	stop   func()
}

func (n *node) Call(ctx context.Context, req *echo.Request, rsp *echo.Response) error {
	n.calls.Add(1)
	time.Sleep(time.Duration(n.delay.Load()))
	if code := n.fail.Load(); code != 0 {
		return errors.New("shop", "told to fail", code)
	}
	err := n.Echo.Call(ctx, req, rsp)
	rsp.Text = n.id
	return err
}

func (n *node) Stream(ctx context.Context, stream echo.Echo_StreamStream) error {
	n.calls.Add(1)
	if code := n.fail.Load(); code != 0 {
		return errors.New("shop", "told to fail", code)
	}
	return n.Echo.Stream(ctx, stream)
}

// serve starts a node.
func (w *world) serve(name, version string, opts ...server.Option) *node {
	w.t.Helper()
	id := uuid.NewString()
	opts = append([]server.Option{server.Id(id), server.Version(version)}, opts...)
	s := w.Server(w.stack, name, opts...)
	n := &node{id: name + "-" + id, server: s}
	if err := echo.RegisterEchoHandler(s, n); err != nil {
		w.t.Fatal(err)
	}
	n.stop = w.Start(s)
	return n
}

// dead registers a node that nobody listens for.
func (w *world) dead(name, version string) string {
	w.t.Helper()
	id := name + "-dead-" + uuid.NewString()
	w.register(name, version, &registry.Node{Id: id, Address: backend.Address(w.t), Metadata: map[string]string{"protocol": w.protocol()}})
	return id
}

func (w *world) protocol() string {
	if w.stack == rpctest.RPC {
		return "mucp"
	}
	return "grpc"
}

func (w *world) register(name, version string, n *registry.Node) {
	w.t.Helper()
	if err := w.Registry.Register(&registry.Service{Name: name, Version: version, Nodes: []*registry.Node{n}}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) lost(err error) bool { return rpctest.Lost(w.stack, err) }

// whole reports whether no try was lost so far.
func (w *world) whole() bool { return w.losses.Load() == 0 }

// calls makes n calls and returns who answered and how many failed.
func (w *world) calls(ctx context.Context, n int, opts ...client.CallOption) (by map[string]int, failed int) {
	by = map[string]int{}
	svc := w.echo("shop")
	for range n {
		rsp, err := svc.Call(ctx, &echo.Request{Text: "hi"}, opts...)
		switch {
		case w.lost(err):
		case err != nil:
			failed++
			by[fmt.Sprint("code ", errors.FromError(err).Code)]++
		default:
			by[rsp.Text]++
		}
	}
	return by, failed
}
