// Monitor runs two nodes of a greeter, a caller and monitor-srv in one process.
// One node's database goes away for a while: watch it turn not ready, the calls
// move to the other, and come back.
//
//	consul agent -dev &                     # or -registry memory
//	go run ./examples/monitor
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
	"syscall"
	"time"

	"go-micro.dev/v6/broker"
	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/server"
	mgrpc "go-micro.dev/v6/server/grpc"

	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/microlog"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/monitor"
	pb "github.com/micro/go-platform/monitor/proto"
	monitorsrv "github.com/micro/go-platform/monitor/srv"
)

func main() {
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
		_, _ = fmt.Fprintln(os.Stderr, "monitor:", err) // there is nobody else to tell
		os.Exit(1)
	}
}

// shop is what the parts of the example share.
type shop struct {
	registry registry.Registry
	broker   broker.Broker
	log      *slog.Logger
	grpc     client.Client // of our services
	ends     []func() error
}

func run(ctx context.Context, reg registry.Registry, out io.Writer) (err error) {
	s := &shop{registry: reg, broker: broker.NewMemoryBroker(), log: slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	defer func() {
		for i := len(s.ends); i > 0; i-- {
			err = errors.Join(err, s.ends[i-1]())
		}
	}()
	if err := s.broker.Connect(); err != nil {
		return err
	}
	srv, err := daemon.Start(ctx, monitorsrv.New(), daemon.Config{Registry: reg, Broker: s.broker, Logger: s.log, Insecure: true})
	if err != nil {
		return err
	}
	s.ends = append(s.ends, srv.Stop)

	s.grpc = s.newClient()

	begun := time.Now()
	away := func() bool { d := time.Since(begun); return d > 3*time.Second && d < 6*time.Second }
	if err := s.node("one", away); err != nil {
		return err
	}
	if err := s.node("two", func() bool { return false }); err != nil {
		return err
	}
	return s.call(ctx, out)
}

// newClient returns a grpc client of its own.
func (s *shop) newClient() client.Client {
	c := rpc.NewClient(rpc.Config{Registry: s.registry, Broker: s.broker, Logger: microlog.New(s.log)})
	s.ends = append(s.ends, func() error { c.Close(); return nil })
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

// node starts a greeter whose database can be away.
func (s *shop) node(name string, away func() bool) error {
	srv := mgrpc.NewServer(server.Name("example.greeter"), server.Id(name), server.Address("127.0.0.1:0"),
		server.Registry(s.registry), server.Broker(s.broker), server.RegisterTTL(30*time.Second), server.RegisterInterval(10*time.Second), server.WithLogger(microlog.New(s.log)))
	m := monitor.NewMonitor(monitor.Server(srv), monitor.Client(s.newClient()), monitor.Interval(time.Second), monitor.Logger(s.log))
	if err := srv.Init(server.WrapHandler(monitor.HandlerWrapper(m))); err != nil {
		return err
	}
	if err := srv.Handle(srv.NewHandler(&Greeter{name})); err != nil {
		return err
	}
	db := m.NewHealthChecker("database", "one row can be read", func() (map[string]string, error) {
		if away() {
			return nil, errors.New("connection refused")
		}
		return map[string]string{"rows": "1"}, nil
	}, monitor.Every(500*time.Millisecond), monitor.Within(time.Second))
	if err := m.Register(db); err != nil {
		return err
	}
	if err := srv.Start(); err != nil {
		return err
	}
	s.ends = append(s.ends, srv.Stop)
	if err := m.Start(); err != nil {
		return err
	}
	s.ends = append(s.ends, m.Stop)
	return nil
}

// call greets all the time and tells each second who answered.
func (s *shop) call(ctx context.Context, out io.Writer) error {
	me := mgrpc.NewServer(server.Name("example.caller"), server.Registry(s.registry), server.Broker(s.broker), server.WithLogger(microlog.New(s.log)))
	m := monitor.NewMonitor(monitor.Server(me), monitor.Client(s.newClient()), monitor.Interval(time.Second), monitor.Logger(s.log))
	if err := m.Start(); err != nil {
		return err
	}
	s.ends = append(s.ends, m.Stop)
	c := monitor.ClientWrapper(m)(monitor.ReadyWrapper(m)(s.newClient()))
	answered, failed := map[string]int{}, 0
	second, pause := time.NewTicker(time.Second), time.NewTicker(5*time.Millisecond)
	defer second.Stop()
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-second.C:
			_, _ = fmt.Fprintf(out, "one answered %3d, two %3d, failed %d | %s\n", answered["one"], answered["two"], failed, s.verdict(ctx)) // it is only shown
			clear(answered)
			failed = 0
		case <-pause.C:
			var rsp Name
			if err := c.Call(ctx, c.NewRequest("example.greeter", "Greeter.Hello", &Name{}, client.WithContentType("application/json")), &rsp); err != nil && ctx.Err() == nil {
				failed++
			}
			answered[rsp.Name]++
		}
	}
}

// verdict asks monitor-srv.
func (s *shop) verdict(ctx context.Context) string {
	rsp, err := pb.NewMonitorService(monitor.ServiceName, s.grpc).Verdicts(ctx, &pb.VerdictsRequest{Service: "example.greeter"})
	if err != nil || len(rsp.Verdicts) == 0 {
		return fmt.Sprint("no verdict ", err)
	}
	v := rsp.Verdicts[0]
	return fmt.Sprintf("%s is %v, %d of %d ready %q", v.Service, v.State, v.Ready, v.Nodes, v.Reasons)
}
