package rpc_test

import (
	"context"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func TestAnyClientReachesAGrpcService(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		net := rpctest.New(t)
		net.Serve(rpctest.GRPC, "go.micro.srv.x")
		user := net.Client(stack)
		c, release := rpc.Acquire(user, nil)
		defer release()
		if stack == rpctest.GRPC && rpc.Under(c) != user {
			t.Error("a grpc client was not used as it is")
		}
		rsp, err := echo.NewEchoService("go.micro.srv.x", c).Call(context.Background(), &echo.Request{Text: "hi"}, rpc.Options(time.Second)...)
		if err != nil || rsp.Text != "hi" {
			t.Fatalf("got %v, %v", rsp, err)
		}
	})
}

func TestClientsAreSharedUntilTheLastRelease(t *testing.T) {
	net, other := rpctest.New(t), rpctest.New(t)
	user := net.Client(rpctest.RPC)
	a, releaseA := rpc.Acquire(user, nil)
	b, releaseB := rpc.Acquire(net.Client(rpctest.RPC), nil)
	c, releaseC := rpc.Acquire(other.Client(rpctest.RPC), nil)
	if a != b || a == c {
		t.Fatal("want one client per registry")
	}
	releaseA()
	releaseA() // once per holder, however often it is called
	if d, releaseD := rpc.Acquire(user, nil); d != b {
		t.Error("closed while b held it")
	} else {
		releaseD()
	}
	releaseB()
	releaseC()
	d, releaseD := rpc.Acquire(user, nil)
	defer releaseD()
	if d == a {
		t.Error("a closed client was handed out")
	}
}

func TestADeadNodeCostsNoCall(t *testing.T) {
	net := rpctest.New(t)
	net.Serve(rpctest.GRPC, "go.micro.srv.x")
	dead := &registry.Service{Name: "go.micro.srv.x", Version: "test", Nodes: []*registry.Node{{
		Id: "dead", Address: "127.0.0.1:1", Metadata: map[string]string{"protocol": "grpc"},
	}}}
	if err := net.Registry.Register(dead); err != nil {
		t.Fatal(err)
	}
	c, release := rpc.Acquire(net.Client(rpctest.RPC), nil)
	defer release()
	svc := echo.NewEchoService("go.micro.srv.x", c)
	failed := 0
	for range 100 {
		if _, err := svc.Call(context.Background(), &echo.Request{}, rpc.Options(time.Second)...); err != nil {
			failed++
		}
	}
	if failed > 0 { // the second try meets another node
		t.Errorf("%d of 100 calls failed", failed)
	}
}

func TestApplicationErrorsAreNotRetried(t *testing.T) {
	net := rpctest.New(t)
	e := net.Serve(rpctest.GRPC, "go.micro.srv.x")
	calls := 0
	e.Forward = func(context.Context) error { calls++; return context.DeadlineExceeded }
	c, release := rpc.Acquire(net.Client(rpctest.RPC), nil)
	defer release()
	_, err := echo.NewEchoService("go.micro.srv.x", c).Call(context.Background(), &echo.Request{}, rpc.Options(time.Second)...)
	if err == nil || calls != 1 {
		t.Fatalf("%d executions, %v", calls, err)
	}
	if call.Code(err) == 0 {
		t.Errorf("no code in %v", err)
	}
}

func TestWhatAClientCarriesIsNotLost(t *testing.T) {
	net := rpctest.New(t)
	wrapped := 0
	wrapper := func(c client.Client) client.Client { wrapped++; return c }
	authed := &carrying{net.Client(rpctest.RPC), wrapper}
	for user, times := range map[client.Client]int{authed: 1, struct{ client.Client }{authed}: 1, &carrying{authed, wrapper}: 2} {
		wrapped = 0
		_, release := rpc.Acquire(user, nil)
		release()
		if wrapped != times {
			t.Errorf("the wrapper was put in %d times, want %d", wrapped, times)
		}
	}
}

type carrying struct {
	client.Client
	wrapper client.Wrapper
}

func (c *carrying) Options() client.Options { return rpc.Carry(c.Client.Options(), c.wrapper) }

// What a client of another stack was made with applies to the calls of plugins.
func TestWrappersOfAClientApply(t *testing.T) {
	net := rpctest.New(t)
	net.Serve(rpctest.GRPC, "go.micro.srv.x")
	var calls, tries, carries int
	own := net.Client(rpctest.RPC).Options()
	user := client.NewClient(client.Registry(own.Registry), client.Selector(own.Selector), client.Broker(own.Broker),
		client.Wrap(func(c client.Client) client.Client { return &counting{c, &calls} }),
		client.Wrap(func(c client.Client) client.Client {
			return &carrying{c, func(c client.Client) client.Client { return &counting{c, &carries} }}
		}),
		client.WrapCall(func(next client.CallFunc) client.CallFunc {
			return func(ctx context.Context, node *registry.Node, req client.Request, rsp any, o client.CallOptions) error {
				tries++
				return next(ctx, node, req, rsp, o)
			}
		}))
	c, release := rpc.Acquire(user, nil)
	defer release()
	x := echo.NewEchoService("go.micro.srv.x", c)
	if _, err := x.Call(t.Context(), &echo.Request{}, rpc.Options(5*time.Second)...); err != nil {
		t.Fatal(err)
	}
	if err := rpctest.Converse(t.Context(), x, 2, &echo.Request{End: true}); err != nil {
		t.Fatal(err)
	}
	if calls != 2 || tries != 1 /* go-micro has none for streams */ || carries != 2 {
		t.Errorf("a call and a stream went %d times through a wrapper, %d through a call wrapper, %d through one that carries itself", calls, tries, carries)
	}
}

type counting struct {
	client.Client
	n *int
}

func (c *counting) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	*c.n++
	return c.Client.Call(ctx, req, rsp, opts...)
}

func (c *counting) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	*c.n++
	return c.Client.Stream(ctx, req, opts...)
}

type panicking struct{ client.Client }

func (panicking) Call(context.Context, client.Request, any, ...client.CallOption) error {
	panic("Call")
}

func (panicking) Stream(context.Context, client.Request, ...client.CallOption) (client.Stream, error) {
	panic("Stream")
}

func (panicking) Publish(context.Context, client.Message, ...client.PublishOption) error {
	panic("Publish")
}

// A user's client that panics is one that fails: plugins call it in the background.
func TestAClientThatPanics(t *testing.T) {
	net := rpctest.New(t)
	c, release := rpc.Acquire(panicking{net.Client(rpctest.GRPC)}, nil)
	defer release()
	req := c.NewRequest("go.micro.srv.x", "Echo.Call", &echo.Request{})
	_, opening := c.Stream(t.Context(), req)
	for what, err := range map[string]error{
		"Call": c.Call(t.Context(), req, &echo.Response{}), "Stream": opening, "Publish": c.Publish(t.Context(), c.NewMessage("topic", &echo.Request{})),
	} {
		if call.Code(err) != 500 {
			t.Errorf("%s: %v", what, err)
		}
	}
}
