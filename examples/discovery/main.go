// Discovery runs three nodes of a greeter, a caller and discovery-srv in one
// process, on top of a registry. One node drains and leaves; another falls
// silent without a word and is gone in less than three heartbeats. No call
// fails.
//
//	consul agent -dev &                     # or -registry memory
//	go run ./examples/discovery
//
// With -standalone discovery-srv is the registry itself and nothing else is
// needed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"go-micro.dev/v6/broker"
	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/server"
	mgrpc "go-micro.dev/v6/server/grpc"

	"github.com/micro/go-platform/discovery"
	discoverysrv "github.com/micro/go-platform/discovery/srv"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/microlog"
	"github.com/micro/go-platform/internal/rpc"
)

// interval is that of the heartbeats.
const interval = time.Second

func main() {
	kind := flag.String("registry", "consul", "consul, etcd, nats, mdns or memory")
	address := flag.String("registry_address", "", "`host:port` of the registry, empty for its usual one")
	standalone := flag.Bool("standalone", false, "discovery-srv is the registry")
	last := flag.Duration("for", 0, "how long to run; 0 is until Ctrl-C")
	flag.Parse()

	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if *last > 0 {
		ctx, cancel = context.WithTimeout(ctx, *last)
		defer cancel()
	}
	var reg registry.Registry
	var err error
	if !*standalone {
		reg, err = daemon.NewRegistry(*kind, *address)
	}
	if err == nil {
		err = run(ctx, reg, os.Stdout)
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "discovery:", err) // there is nobody else to tell
		os.Exit(1)
	}
}

// town is what the parts of the example share.
type town struct {
	registry registry.Registry // nil: discovery-srv is it
	address  string            // of discovery-srv
	broker   broker.Broker
	log      *slog.Logger
	ends     []func() error
}

// run is the example on top of the registry, or standalone when that is nil.
func run(ctx context.Context, reg registry.Registry, out io.Writer) (err error) {
	t := &town{registry: reg, broker: broker.NewMemoryBroker(), log: slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	defer func() {
		for i := len(t.ends); i > 0; i-- {
			err = errors.Join(err, t.ends[i-1]())
		}
	}()
	if err := t.broker.Connect(); err != nil {
		return err
	}
	srv, err := daemon.Start(ctx, discoverysrv.New(), daemon.Config{Registry: reg, Broker: t.broker, Logger: t.log, Insecure: true})
	if err != nil {
		return err
	}
	t.ends = append(t.ends, srv.Stop)
	t.address = srv.Address()

	one, err := t.node("one")
	if err != nil {
		return err
	}
	two, err := t.node("two")
	if err != nil {
		return err
	}
	if _, err := t.node("three"); err != nil {
		return err
	}
	drain := time.AfterFunc(3*time.Second, func() {
		if err := one.Drain(); err != nil {
			t.log.Error("cannot drain", "error", err)
		}
	})
	defer drain.Stop()
	silence := time.AfterFunc(6*time.Second, func() {
		_ = two.Stop() // again at the end, which tells
	})
	defer silence.Stop()
	return t.call(ctx, out)
}

// discovery returns the plugin of one process.
func (t *town) discovery() (discovery.Discovery, error) {
	opts := []discovery.Option{discovery.Interval(interval), discovery.Logger(t.log)}
	if t.registry == nil {
		opts = append(opts, discovery.Addresses(t.address))
	} else {
		opts = append(opts, discovery.Registry(t.registry), discovery.Client(t.client(t.registry)))
	}
	d := discovery.NewDiscovery(opts...)
	t.ends = append(t.ends, d.Stop)
	return d, d.Start()
}

// client returns a grpc client of its own.
func (t *town) client(reg registry.Registry) client.Client {
	c := rpc.NewClient(rpc.Config{Registry: reg, Broker: t.broker, Logger: microlog.New(t.log)})
	t.ends = append(t.ends, func() error { c.Close(); return nil })
	return c
}

// Greeter answers with the name of its node.
type Greeter struct{ node string }

// Name is the request and the response of Hello.
type Name struct{ Name string }

// Hello is called as Greeter.Hello.
func (g *Greeter) Hello(_ context.Context, _ *Name, rsp *Name) error {
	rsp.Name = g.node
	return nil
}

// node starts a greeter.
func (t *town) node(name string) (discovery.Discovery, error) {
	d, err := t.discovery()
	if err != nil {
		return nil, err
	}
	srv := mgrpc.NewServer(server.Name("example.greeter"), server.Id(name), server.Address("127.0.0.1:0"),
		server.Registry(d), server.Broker(t.broker), server.WithLogger(microlog.New(slog.New(slog.DiscardHandler))))
	if err := srv.Handle(srv.NewHandler(&Greeter{name})); err != nil {
		return nil, err
	}
	if err := srv.Start(); err != nil {
		return nil, err
	}
	t.ends = append(t.ends, func() error {
		_ = srv.Stop() // what it cannot deregister leaves by itself
		return nil
	})
	return d, nil
}

// call greets all the time and tells each second who answered and who is known.
func (t *town) call(ctx context.Context, out io.Writer) error {
	d, err := t.discovery()
	if err != nil {
		return err
	}
	c := discovery.ClientWrapper(d)(t.client(d))
	answered, failed := map[string]int{}, 0
	second, pause := time.NewTicker(time.Second), time.NewTicker(5*time.Millisecond)
	defer second.Stop()
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-second.C:
			_, _ = fmt.Fprintf(out, "one answered %3d, two %3d, three %3d, failed %d | nodes: %s\n", // it is only shown
				answered["one"], answered["two"], answered["three"], failed, nodes(d))
			clear(answered)
			failed = 0
		case <-pause.C:
			var rsp Name
			hello := c.NewRequest("example.greeter", "Greeter.Hello", &Name{}, client.WithContentType("application/json"))
			if err := c.Call(ctx, hello, &rsp); err != nil && ctx.Err() == nil {
				failed++
				t.log.Warn("call failed", "error", err)
			}
			answered[rsp.Name]++
		}
	}
}

// nodes names the nodes that get calls.
func nodes(d discovery.Discovery) string {
	s, err := d.Snapshot("example.greeter")
	if err != nil {
		return err.Error()
	}
	var names []string
	for _, n := range s.Nodes {
		names = append(names, strings.TrimPrefix(n.Id, "example.greeter-"))
	}
	return strings.Join(names, " ")
}
