package router_test

import (
	"context"
	stdnet "net"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	mgrpc "go-micro.dev/v6/client/grpc"
	"go-micro.dev/v6/registry"
	"google.golang.org/grpc"

	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"github.com/micro/go-platform/router"
)

// goMicros is go-micro's own client with a dial option of the user's.
func goMicros(t *testing.T, w *world) client.Client {
	var conns sync.Map
	t.Cleanup(func() {
		conns.Range(func(c, _ any) bool {
			_ = c.(*grpc.ClientConn).Close() // which go-micro's pool may have done
			return true
		})
	})
	see := grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, rsp any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		conns.Store(cc, nil)
		return invoke(ctx, method, req, rsp, cc, opts...)
	})
	return mgrpc.NewClient(client.Selector(w.router), client.Registry(w.Registry), client.Broker(w.Broker), client.ContentType("application/protobuf"),
		func(o *client.Options) { mgrpc.DialOptions(see)(&o.CallOptions) })
}

// A node at which a connection never stands costs no call, though the call must not
// run twice: connecting has a bound of its own, and the call goes elsewhere.
func TestConnectingIsBounded(t *testing.T) {
	for name, address := range map[string]func(testing.TB) string{"swallows": swallow, "mute": mute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, rpctest.GRPC, router.Strategy(router.RoundRobin))
			n := w.serve("shop", "1")
			w.register("shop", "1", &registry.Node{Id: "lost", Address: address(t), Metadata: map[string]string{"protocol": "grpc"}})
			theirs := goMicros(t, w)
			svc := echo.NewEchoService("shop", router.ClientWrapper(w.router)(theirs))
			var slowest time.Duration
			for range 40 {
				begun := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
				rsp, err := svc.Call(ctx, &echo.Request{})
				cancel()
				if err != nil || rsp.Text != n.id {
					t.Fatalf("%v, %v after %v", rsp, err, time.Since(begun))
				}
				slowest = max(slowest, time.Since(begun))
			}
			t.Logf("the slowest call took %v", slowest)
			if calls := n.calls.Load(); calls != 40 || slowest > 10*time.Second {
				t.Errorf("%d executions of 40 calls, the slowest took %v", calls, slowest)
			}
		})
	}
}

// swallow returns an address at which connecting neither succeeds nor fails until the
// test ends, as of a host that is gone or behind a firewall: the queue of its
// listener is full.
func swallow(tb testing.TB) string {
	tb.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = syscall.Close(fd) }) // nobody waits for it
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		tb.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		tb.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		tb.Fatal(err)
	}
	address := stdnet.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*syscall.SockaddrInet4).Port))
	for range 16 {
		c, err := stdnet.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			return address
		}
		tb.Cleanup(func() { _ = c.Close() }) // it only took room
	}
	tb.Fatal("the listener's queue has no end")
	return ""
}

// mute returns the address of a server that accepts connections and says nothing, as
// of a process that hangs, until the test ends.
func mute(tb testing.TB) string {
	tb.Helper()
	l, err := stdnet.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() }) // which nobody accepts from
	return l.Addr().String()
}
