// Package stage is what the examples router, labels and stream have in common:
// flags, router-srv, nodes of a greeter and a caller, all in one process.
package stage

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/google/uuid"
	"go-micro.dev/v6/broker"
	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"
	"go-micro.dev/v6/server"
	mgrpc "go-micro.dev/v6/server/grpc"

	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/membroker"
	"github.com/micro/go-platform/internal/microlog"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/router"
	routersrv "github.com/micro/go-platform/router/srv"
)

// Service is the name of the greeter.
const Service = "example.greeter"

// Main parses the flags and runs the example until Ctrl-C or -for is over.
func Main(name string, run func(context.Context, registry.Registry, io.Writer) error) {
	kind := flag.String("registry", "consul", "consul, etcd, nats, mdns or memory")
	address := flag.String("registry_address", "", "`host:port` of the registry, empty for its usual one")
	last := flag.Duration("for", 0, "how long to run; 0 is until Ctrl-C")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if *last > 0 {
		ctx, cancel = context.WithTimeout(ctx, *last)
		defer cancel()
	}
	reg, err := daemon.NewRegistry(*kind, *address)
	if err == nil {
		err = run(ctx, reg, os.Stdout)
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, name+":", err) // there is nobody else to tell
		os.Exit(1)
	}
}

// Stage is the services of an example.
type Stage struct {
	Registry registry.Registry
	Out      io.Writer
	broker   broker.Broker
	log      *slog.Logger
	ends     []func() error
}

// New starts router-srv.
func New(ctx context.Context, reg registry.Registry, out io.Writer) (*Stage, error) {
	s := &Stage{Registry: reg, Out: out, log: slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelError}))}
	var err error
	if s.broker, err = membroker.New(); err != nil {
		return nil, err
	}
	srv, err := daemon.Start(ctx, routersrv.New(), daemon.Config{Registry: reg, Broker: s.broker, Logger: s.log, Insecure: true})
	if err != nil {
		return nil, err
	}
	s.ends = append(s.ends, srv.Stop)
	return s, nil
}

// Close ends everything, last started first.
func (s *Stage) Close() error {
	var errs []error
	for i := len(s.ends); i > 0; i-- {
		errs = append(errs, s.ends[i-1]())
	}
	s.ends = nil
	return errors.Join(errs...)
}

// Client returns a plain grpc client, for router-srv.
func (s *Stage) Client() client.Client {
	c := rpc.NewClient(rpc.Config{Registry: s.Registry, Broker: s.broker, Logger: microlog.New(s.log)})
	s.ends = append(s.ends, func() error { c.Close(); return nil })
	return c
}

// Node starts a node of the greeter with the handler. The returned function
// stops it.
func (s *Stage) Node(version string, metadata map[string]string, handler any) (stop func() error, _ error) {
	srv := mgrpc.NewServer(server.Name(Service), server.Id(uuid.NewString()), server.Version(version), server.Metadata(metadata),
		server.Address("127.0.0.1:0"), server.Registry(s.Registry), server.Broker(s.broker),
		server.RegisterTTL(30*time.Second), server.RegisterInterval(10*time.Second), server.WithLogger(microlog.New(s.log)))
	if err := srv.Handle(srv.NewHandler(handler)); err != nil {
		return nil, err
	}
	if err := srv.Start(); err != nil {
		return nil, err
	}
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		return srv.Stop()
	}
	s.ends = append(s.ends, stop)
	return stop, nil
}

// Caller returns a client in the hands of a router, and the router.
func (s *Stage) Caller(opts ...selector.Option) (client.Client, router.Router, error) {
	me := mgrpc.NewServer(server.Name("example.caller"), server.Registry(s.Registry), server.Broker(s.broker), server.WithLogger(microlog.New(s.log)))
	r := router.NewRouter(append([]selector.Option{
		selector.Registry(s.Registry), router.Client(s.Client()), router.Server(me),
		router.Interval(time.Second), router.Logger(s.log),
	}, opts...)...)
	if err := r.Start(); err != nil {
		return nil, nil, err
	}
	s.ends = append(s.ends, r.Stop)
	c := rpc.NewClient(rpc.Config{
		Registry: s.Registry, Broker: s.broker, Logger: microlog.New(s.log),
		Selector: r, Wrappers: []client.Wrapper{router.ClientWrapper(r)},
	})
	s.ends = append(s.ends, func() error { c.Close(); return nil })
	return c, r, nil
}

// Name is the request and the response of the greeter.
type Name struct{ Name string }

// Request returns a request of a method of the greeter, as JSON.
func Request(c client.Client, method, name string) client.Request {
	return c.NewRequest(Service, method, &Name{name}, client.WithContentType("application/json"))
}
