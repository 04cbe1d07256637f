package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"go-micro.dev/v6"
	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"
	"go-micro.dev/v6/server"
	mgrpc "go-micro.dev/v6/server/grpc"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/internal/microlog"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/kv"
	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/metrics"
	"github.com/micro/go-platform/monitor"
	"github.com/micro/go-platform/router"
	"github.com/micro/go-platform/trace"
)

// node is one instance of a service with everything this project wires into it.
type node struct {
	name    string
	bound   time.Duration // of its end
	service micro.Service
	plain   *rpc.Client   // to the platform's services
	authed  client.Client // plain, as this service
	routed  *rpc.Client   // to the shop's
	says    *slog.Logger
	wire    *wire
	ring    kv.KV          // of a gateway
	leaves  []func() error // before the server stops
	ends    []func() error // after it

	log     log.Log
	metrics metrics.Metrics
	trace   trace.Trace
	monitor monitor.Monitor
	auth    auth.Auth
	router  router.Router
	config  config.Config

	shutdown *monitor.Shutdown
}

// newNode makes an instance that is wired, but serves nothing yet.
func newNode(ctx context.Context, p *platform, service, version, name string) (_ *node, err error) {
	n := &node{name: name, bound: p.bound}
	self := &registry.Service{Name: service, Version: version}

	// Clients and a server of its own: those that go-micro makes share registry,
	// broker and selector with all services of a process, of which this one has a
	// dozen.
	// What go-micro says of itself goes to the service's log.
	if n.wire, err = newWire(); err != nil {
		return nil, err
	}
	reg, brk := &wiredRegistry{p.registry, n.wire}, &wiredBroker{p.broker, n.wire}
	n.log = log.NewLog(
		log.WithOutput(log.NewOutput(log.OutputName(filepath.Join(p.dir, name+".log")))),
		log.WithFields(log.Fields{"service": service, "node": name}),
	)
	n.says = slog.New(log.NewSlogHandler(n.log))
	chatter := microlog.New(n.says)
	n.plain = rpc.NewClient(rpc.Config{Registry: reg, Broker: brk, Logger: chatter})
	srv := mgrpc.NewServer(
		server.Name(service), server.Id(name+"-"+uuid.NewString()), server.Version(version),
		mgrpc.Listener(n.wire), server.Registry(reg), server.Broker(brk),
		server.RegisterTTL(90*time.Second), server.RegisterInterval(30*time.Second), server.WithLogger(chatter),
	)
	if n.auth, err = p.operator.member(ctx, service, n.plain, n.says, "shop"); err != nil {
		return nil, err
	}
	// The plugins call the platform's services as this one.
	n.authed = auth.ClientWrapper(n.auth)(n.plain)

	n.metrics = metrics.NewMetrics(
		metrics.Collectors([]string{p.collector.address()}), metrics.Namespace("shop"), metrics.BatchInterval(time.Second), metrics.Logger(n.says),
	)
	n.trace = trace.NewTrace(trace.Client(n.authed), trace.Service(self), trace.BatchInterval(time.Second), trace.Logger(n.says))
	n.monitor = monitor.NewMonitor(
		monitor.Client(n.authed), monitor.Server(srv), monitor.Interval(p.every/2), monitor.Logger(n.says),
		monitor.WatchLoss("trace", n.trace), monitor.WatchLoss("log", n.log),
	)
	n.config = config.NewConfig(config.Logger(n.says), config.WithOptionalSource(config.NewSource(config.SourceName(configID), config.SourceClient(n.authed))))
	n.router = router.NewRouter(
		selector.Registry(reg), router.Client(n.authed), router.Server(srv), router.Logger(n.says),
		router.Interval(500*time.Millisecond), router.NotReady(n.monitor.NotReady), router.Idempotent("Stock.Reserve", "Gateway.Fill"),
	)
	n.routed = rpc.NewClient(rpc.Config{Registry: reg, Broker: brk, Logger: chatter, Selector: n.router})

	n.shutdown = monitor.NewShutdown(n.monitor, srv,
		n.router.Stop, n.config.Stop, n.trace.Stop, n.metrics.Stop)
	n.shutdown.Leave, n.shutdown.Logger = n.leave, n.says
	n.shutdown.Propagation = 100 * time.Millisecond // within a process
	n.service = micro.NewService(service,
		micro.Client(n.routed), micro.Server(srv), micro.HandleSignal(false),
		micro.WrapClient(
			log.ClientWrapper(n.log), metrics.ClientWrapper(n.metrics), trace.ClientWrapper(n.trace, self),
			monitor.ClientWrapper(n.monitor), auth.ClientWrapper(n.auth), router.ClientWrapper(n.router),
		),
		micro.WrapHandler(
			n.shutdown.HandlerWrapper(), ofCallers(trace.HandlerWrapper(n.trace, self)), ofCallers(metrics.HandlerWrapper(n.metrics)),
			ofCallers(monitor.HandlerWrapper(n.monitor)), log.HandlerWrapper(n.log), auth.HandlerWrapper(n.auth),
		),
	)
	for _, start := range []func() error{n.log.Start, n.metrics.Start, n.trace.Start, n.config.Start, n.router.Start} {
		if err := start(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, errors.Join(err, n.stop()))
		}
	}
	return n, nil
}

// ofCallers leaves w out of what the members of a ring tell each other: these are
// hundreds of calls a second that no customer made.
func ofCallers(w server.HandlerWrapper) server.HandlerWrapper {
	return func(next server.HandlerFunc) server.HandlerFunc {
		wrapped := w(next)
		return func(ctx context.Context, req server.Request, rsp any) error {
			if strings.HasPrefix(req.Endpoint(), "KV.") {
				return next(ctx, req, rsp)
			}
			return wrapped(ctx, req, rsp)
		}
	}
}

// leave hands over what the instance keeps.
func (n *node) leave() error {
	var errs []error
	for _, leave := range n.leaves {
		errs = append(errs, leave())
	}
	return errors.Join(errs...)
}

// serve starts the server, then reports it.
func (n *node) serve() error {
	if err := n.service.Server().Start(); err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	if err := n.monitor.Start(); err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	return nil
}

// call is the client with all wrappers.
func (n *node) call() client.Client { return n.service.Client() }

// dropped is what the instance had to drop of its telemetry.
func (n *node) dropped() uint64 {
	return n.router.Dropped() + n.trace.Dropped() + n.log.Dropped() + n.metrics.Dropped() + n.monitor.Dropped()
}

// kill is as much of kill -9 as there is within a process: from one moment to
// the next nobody hears of the instance again. What is left of it ends by itself,
// and cannot tell anybody.
func (n *node) kill(graves *sync.WaitGroup) {
	n.wire.cut()
	n.routed.Close()
	n.plain.Close()
	graves.Go(func() { _ = n.stop() }) // the dead do not complain
}

// stop ends the instance without losing a call.
func (n *node) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), n.bound)
	defer cancel()
	err := n.shutdown.Stop(ctx)
	for _, end := range append(n.ends, n.auth.Stop, n.log.Stop) { // the farewell needs a token, and the log hears of it
		err = errors.Join(err, end())
	}
	n.routed.Close()
	n.plain.Close()
	n.wire.cut()
	if err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	return nil
}
