// Event runs event-srv, a shop and two notifiers in one process. The shop
// publishes orders; the notifiers share a durable subscription, and one of
// them stops halfway: the other does its work, and nothing is missing.
//
//	consul agent -dev &                     # or -registry memory
//	go run ./examples/event
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
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go-micro.dev/v6/broker"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/event"
	eventsrv "github.com/micro/go-platform/event/srv"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/microlog"
	"github.com/micro/go-platform/internal/rpc"
)

func main() {
	kind := flag.String("registry", "consul", "consul, etcd, nats, mdns or memory")
	address := flag.String("registry_address", "", "`host:port` of the registry, empty for its usual one")
	orders := flag.Int("orders", 50, "how many orders there are")
	flag.Parse()

	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	reg, err := daemon.NewRegistry(*kind, *address)
	if err == nil {
		err = run(ctx, reg, *orders, os.Stdout)
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "event:", err) // nowhere is left to tell
		os.Exit(1)
	}
}

func run(ctx context.Context, reg registry.Registry, orders int, out io.Writer) (err error) {
	log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelWarn}))
	brk := broker.NewMemoryBroker()
	if err := brk.Connect(); err != nil {
		return err
	}
	srv, err := daemon.Start(ctx, eventsrv.New(), daemon.Config{Registry: reg, Broker: brk, Logger: log, Insecure: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Stop()) }()
	client := rpc.NewClient(rpc.Config{Registry: reg, Broker: brk, Logger: microlog.New(log)})
	defer client.Close()

	e := event.NewEvent(event.Client(client), event.Origin("example.shop"), event.Logger(log))
	if err := e.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Stop()) }()
	for i := range orders {
		r := &event.Record{Type: "order.created", Key: fmt.Sprint("customer ", i%5), Data: fmt.Sprint("order ", i)}
		if err := e.Publish(ctx, r); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(out, "published %d orders, each on disk\n", orders); err != nil {
		return err
	}
	return notify(ctx, e, orders, out)
}

// notify has two notifiers handle all orders; one of them leaves early.
func notify(ctx context.Context, e event.Event, orders int, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	early, leave := context.WithCancel(ctx)
	defer leave()
	var notifiers sync.WaitGroup
	var total atomic.Int64
	failures := make(chan error, 2)
	for name, until := range map[string]context.Context{"one": early, "two": ctx} {
		notifiers.Go(func() {
			handled := 0
			err := e.Consume(until, func(_ context.Context, d *event.Delivery) error {
				time.Sleep(5 * time.Millisecond) // a mail is written
				if d.Data == "order 7" && d.Try == 1 {
					return event.Retry(50*time.Millisecond, errors.New("mail server is busy"))
				}
				handled++
				if handled == orders/5 && name == "one" {
					leave()
				}
				if total.Add(1) == int64(orders) {
					cancel()
				}
				return nil
			}, event.Durable("notifier"), event.Types("order.*"), event.FromBeginning(), event.Ordered(), event.Prefetch(8))
			if errors.Is(err, context.Canceled) {
				_, err = fmt.Fprintf(out, "notifier %s handled %d orders\n", name, handled)
			}
			failures <- err
		})
	}
	notifiers.Wait()
	_, err := fmt.Fprintf(out, "%d of %d orders handled\n", total.Load(), orders)
	return errors.Join(err, <-failures, <-failures)
}
