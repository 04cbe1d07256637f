// Command client calls the server of this example, then shows the last trace as
// trace-srv has it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/examples/internal/devauth"
	"github.com/micro/go-platform/examples/trace/wire"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/trace"
	pb "github.com/micro/go-platform/trace/proto"
)

func main() {
	name := flag.String("registry", "consul", "consul, etcd, nats or mdns")
	address := flag.String("registry_address", "", "`host:port` of the registry, empty for its usual one")
	calls := flag.Int("n", 3, "how many calls to make")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, *name, *address, *calls, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, name, address string, calls int, out io.Writer) (err error) {
	reg, err := daemon.NewRegistry(name, address)
	if err != nil {
		return err
	}
	self := &registry.Service{Name: "go.micro.example.client"}
	c, stop, err := devauth.Wrap(client.NewClient(client.Registry(reg)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	t := trace.NewTrace(trace.Client(c), trace.Service(self))
	if err := t.Start(); err != nil {
		return err
	}
	traced := trace.ClientWrapper(t, self)(c)
	var last string
	for range calls {
		ctx, span := trace.Begin(ctx, t, "greet")
		var rsp wire.Response
		err := traced.Call(ctx, traced.NewRequest(wire.Service, "Greeter.Hello", &wire.Request{Name: "John"}), &rsp)
		trace.End(t, span, err)
		if err != nil {
			return errors.Join(err, t.Stop())
		}
		if _, err := fmt.Fprintln(out, rsp.Text, "- trace", span.TraceId); err != nil {
			return err
		}
		last = span.TraceId
	}
	if err := t.Stop(); err != nil { // sends what is left
		return err
	}
	return show(ctx, c, last, out)
}

// show waits until the server's half has arrived, which it sends within five
// seconds, and prints the tree.
func show(ctx context.Context, c client.Client, id string, out io.Writer) error {
	fit, release := rpc.Acquire(c, nil) // our services speak grpc
	defer release()
	svc := pb.NewTraceService(trace.ServiceName, fit)
	for {
		rsp, err := svc.Tree(ctx, &pb.TreeRequest{Id: id})
		if err != nil {
			return err
		}
		if len(rsp.Nodes) < 4 {
			select {
			case <-time.After(200 * time.Millisecond):
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		for _, n := range rsp.Nodes {
			took := time.Duration(n.Span.Duration) * time.Microsecond
			if _, err := fmt.Fprintf(out, "%-40s %v\n", strings.Repeat("  ", int(n.Depth))+n.Span.Name, took); err != nil {
				return err
			}
		}
		return nil
	}
}
