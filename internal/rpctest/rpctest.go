// Package rpctest runs several go-micro services in one process: a registry and
// a broker in memory, real loopback sockets, either stack, no go-micro globals
// and nothing left running when the test ends.
package rpctest

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go-micro.dev/v6/broker"
	"go-micro.dev/v6/client"
	"go-micro.dev/v6/selector"
	"go-micro.dev/v6/server"
	mgrpc "go-micro.dev/v6/server/grpc"
	"go-micro.dev/v6/transport"
	"go.uber.org/goleak"

	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/leak"
	"github.com/micro/go-platform/internal/membroker"
	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/microlog"
	"github.com/micro/go-platform/internal/rpc"
)

// GRPC and RPC name go-micro's two stacks.
const (
	GRPC = "grpc"
	RPC  = "rpc"
)

// Stacks runs a subtest on each stack.
func Stacks(t *testing.T, test func(t *testing.T, stack string)) {
	t.Helper()
	for _, stack := range []string{GRPC, RPC} {
		t.Run(stack, func(t *testing.T) { test(t, stack) })
	}
}

// Net is a network of services that end with the test.
type Net struct {
	Registry *memreg.Registry
	Broker   broker.Broker
	Logger   *slog.Logger
	tb       testing.TB
}

// New returns an empty network. Its log goes to the test's output.
func New(tb testing.TB) *Net {
	tb.Helper()
	b, err := membroker.New()
	if err != nil {
		tb.Fatal(err)
	}
	return &Net{Registry: memreg.New(), Broker: b, Logger: Logger(tb), tb: tb}
}

// Logger returns a logger that writes warnings and errors to the test's output
// until the test ends.
func Logger(tb testing.TB) *slog.Logger {
	out := &output{to: tb.Output()}
	tb.Cleanup(out.end)
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// output is a test's output until the test ends, after which testing panics at
// a write: go-micro's rpc servers log when connections are collected, its grpc
// servers when they were stopped before they began, both of which may be later.
type output struct {
	mu sync.Mutex
	to io.Writer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.to.Write(p)
}

func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.to = io.Discard
}

// Client returns a client of the stack with the wrappers, the first outermost.
func (n *Net) Client(stack string, wrappers ...client.Wrapper) client.Client {
	n.tb.Helper()
	if stack == GRPC {
		return n.ClientOf(stack, nil, wrappers...)
	}
	return n.ClientOf(stack, &uncached{selector.Options{Registry: n.Registry}}, wrappers...)
}

// ClientOf is Client with a selector, which the caller closes. On grpc nil
// stands for that of rpc.NewClient.
func (n *Net) ClientOf(stack string, sel selector.Selector, wrappers ...client.Wrapper) client.Client {
	n.tb.Helper()
	log := microlog.New(n.Logger)
	if stack == GRPC {
		c := rpc.NewClient(rpc.Config{Registry: n.Registry, Broker: n.Broker, Logger: log, Selector: sel, Wrappers: wrappers})
		n.tb.Cleanup(c.Close)
		return c
	}
	c := client.NewClient(
		client.Selector(sel),
		client.Registry(n.Registry),
		client.Broker(n.Broker),
		client.Transport(transport.NewHTTPTransport()),
		client.ContentType("application/protobuf"),
		client.WithLogger(log),
	)
	for i := len(wrappers); i > 0; i-- {
		c = wrappers[i-1](c)
	}
	return c
}

// Server returns a server of the stack that is not started yet: register
// handlers and subscribers, then hand it to Start.
func (n *Net) Server(stack, name string, opts ...server.Option) server.Server {
	n.tb.Helper()
	opts = append([]server.Option{
		server.Name(name),
		server.Id(uuid.NewString()),
		server.Version("test"),
		server.Address("127.0.0.1:0"),
		server.Registry(n.Registry),
		server.Broker(n.Broker),
		server.RegisterTTL(90 * time.Second),
		server.RegisterInterval(30 * time.Second),
		server.WithLogger(microlog.New(n.Logger)),
	}, opts...)
	if stack == GRPC {
		return mgrpc.NewServer(opts...)
	}
	return server.NewRPCServer(append([]server.Option{server.Transport(transport.NewHTTPTransport())}, opts...)...)
}

// Start starts a server of Server and stops it when the test ends. The returned
// function stops it earlier.
func (n *Net) Start(s server.Server) (stop func()) {
	n.tb.Helper()
	if err := s.Start(); err != nil {
		n.tb.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		if err := stopServer(s); err != nil {
			n.tb.Error(err)
		}
	}
	n.tb.Cleanup(stop)
	return stop
}

// stopServer asks a second time when nothing happens: a connection of an rpc
// server that fails at that moment takes the word away from the one it is for
// (rpc_server.go:113), and Stop would wait for ever.
func stopServer(s server.Server) error {
	done := make(chan error, 2)
	ask := func() { done <- s.Stop() }
	go ask()
	select {
	case err := <-done:
		return err
	case <-time.After(5 * time.Second):
		go ask()
		return <-done
	}
}

// Boot starts one of our services on the network, open to everybody, and stops
// it when the test ends. Change edits its configuration.
func (n *Net) Boot(s daemon.Bootable, change ...func(*daemon.Config)) *daemon.Running {
	n.tb.Helper()
	c := daemon.Config{Registry: n.Registry, Broker: n.Broker, Logger: n.Logger, Insecure: true}
	for _, f := range change {
		f(&c)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r, err := daemon.Start(ctx, s, c)
	if err != nil {
		n.tb.Fatal(err)
	}
	n.tb.Cleanup(func() {
		if err := r.Stop(); err != nil {
			n.tb.Error(err)
		}
	})
	return r
}

// Eventually polls until ok holds and fails the test after a minute: patience
// costs nothing where it happens, and a busy machine may stall for seconds.
func Eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	tb.Fatalf("never happened: %s", what)
}

// Within is Eventually that logs how long it took, and fails when that was more
// than the bound: unless the machine kept the poll itself waiting for a tenth of
// it, since it is then too busy to judge anybody.
func Within(tb testing.TB, bound time.Duration, what string, ok func() bool) {
	tb.Helper()
	begun, stalled := time.Now(), time.Duration(0)
	last := begun
	Eventually(tb, what, func() bool {
		if paused := time.Since(last); paused > 10*time.Millisecond {
			stalled += paused
		}
		defer func() { last = time.Now() }()
		return ok()
	})
	took := time.Since(begun)
	tb.Logf("%s: after %v", what, took.Round(time.Millisecond))
	if took > bound && stalled < bound/10 {
		tb.Errorf("%s: after %v, want at most %v", what, took, bound)
	}
}

// Main is the TestMain of packages that use go-micro: it fails when goroutines
// are left, but for those that go-micro starts and nobody can stop.
func Main(m goleak.TestingM, opts ...goleak.Option) {
	leak.Main(m, append(leftByGoMicro(), opts...)...)
}

func leftByGoMicro() []goleak.Option {
	return []goleak.Option{
		// One per client, for the response cache; ends when the client is collected.
		goleak.IgnoreTopFunction("github.com/patrickmn/go-cache.(*janitor).Run"),
		goleak.IgnoreTopFunction("go-micro.dev/v6/server.(*rpcServer).Stop"), // see stopServer
	}
}
