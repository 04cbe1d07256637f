// Command server is a traced service. Start a Consul and a trace-srv, then it:
//
//	consul agent -dev
//	go run ./trace/trace-srv --registry consul --insecure
//	go run ./examples/trace/server
//	go run ./examples/trace/client
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go-micro.dev/v6"
	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/examples/internal/devauth"
	"github.com/micro/go-platform/examples/trace/wire"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/trace"
)

// Greeter is the handler.
type Greeter struct{ trace trace.Trace }

// Hello greets everybody but those without a name.
func (g *Greeter) Hello(ctx context.Context, req *wire.Request, rsp *wire.Response) error {
	return trace.Do(ctx, g.trace, "compose", func(ctx context.Context) error {
		if s, ok := g.trace.FromContext(ctx); ok {
			s.Annotate("name", req.Name)
		}
		if req.Name == "" {
			return merrors.BadRequest(wire.Service, "name: missing")
		}
		time.Sleep(5 * time.Millisecond) // hard work
		rsp.Text = "Hello " + req.Name
		return nil
	})
}

func main() {
	name := flag.String("registry", "consul", "consul, etcd, nats or mdns")
	address := flag.String("registry_address", "", "`host:port` of the registry, empty for its usual one")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, *name, *address); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, name, address string) error {
	reg, err := daemon.NewRegistry(name, address)
	if err != nil {
		return err
	}
	self := &registry.Service{Name: wire.Service}
	c, stop, err := devauth.Wrap(client.NewClient(client.Registry(reg)))
	if err != nil {
		return err
	}
	t := trace.NewTrace(trace.Client(c), trace.Service(self))
	if err := t.Start(); err != nil {
		return errors.Join(err, stop())
	}
	service := micro.NewService(wire.Service,
		micro.Registry(reg),
		micro.Context(ctx),
		micro.WrapHandler(trace.HandlerWrapper(t, self)),
	)
	if err := micro.RegisterHandler(service.Server(), &Greeter{t}); err != nil {
		return errors.Join(err, t.Stop(), stop())
	}
	return errors.Join(service.Run(), t.Stop(), stop())
}
