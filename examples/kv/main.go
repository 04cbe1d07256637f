// Kv runs three instances of a shop whose memory keeps the visitors' sessions.
// One of them is killed while visitors come: no session is lost.
//
//	consul agent -dev &                     # or -registry memory
//	go run ./examples/kv
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

	"github.com/google/uuid"
	"go-micro.dev/v6/broker"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/server"
	mgrpc "go-micro.dev/v6/server/grpc"

	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/membroker"
	"github.com/micro/go-platform/internal/microlog"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/kv"
)

func main() {
	kind := flag.String("registry", "consul", "consul, etcd, nats, mdns or memory")
	address := flag.String("registry_address", "", "`host:port` of the registry, empty for its usual one")
	flag.Parse()

	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	reg, err := daemon.NewRegistry(*kind, *address)
	if err == nil {
		err = run(ctx, reg, os.Stdout)
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "kv:", err) // there is nobody else to tell
		os.Exit(1)
	}
}

// instance is what one process of the shop would be.
type instance struct {
	sessions kv.KV
	server   server.Server
	client   *rpc.Client
}

func start(reg registry.Registry, brk broker.Broker, log *slog.Logger) (*instance, error) {
	i := &instance{
		server: mgrpc.NewServer(server.Name("example.shop"), server.Id(uuid.NewString()), server.Address("127.0.0.1:0"), server.Registry(reg),
			server.Broker(brk), server.RegisterTTL(30*time.Second), server.RegisterInterval(10*time.Second), server.WithLogger(microlog.New(log))),
		client: rpc.NewClient(rpc.Config{Registry: reg, Broker: brk, Logger: microlog.New(log)}),
	}
	i.sessions = kv.NewKV(kv.Server(i.server), kv.Client(i.client), kv.Namespace("sessions"), kv.Suspicion(time.Second), kv.Logger(log))
	if err := i.sessions.Start(); err != nil {
		return nil, err
	}
	return i, i.server.Start()
}

// crash leaves out what a process that ends in order does first: sessions.Stop,
// which hands its items over.
func (i *instance) crash() error { return i.server.Stop() }

func (i *instance) stop() error {
	err := i.sessions.Stop()
	i.client.Close()
	return err
}

func run(ctx context.Context, reg registry.Registry, out io.Writer) (err error) {
	brk, err := membroker.New()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelWarn}))
	var shop []*instance
	for range 3 {
		i, err := start(reg, brk, log)
		if err != nil {
			return err
		}
		shop = append(shop, i)
	}
	defer func() {
		for _, i := range shop[:2] {
			err = errors.Join(err, i.stop(), i.server.Stop())
		}
	}()
	const visitors = 100
	for v := range visitors {
		session := &kv.Item{Key: fmt.Sprint("visitor", v), Value: fmt.Appendf(nil, "cart of %d", v), Expiration: time.Hour}
		if err := shop[v%3].sessions.Put(session, kv.WithContext(ctx)); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintf(out, "%d sessions are kept by 3 instances\n", visitors) // it is only shown
	if err := shop[2].crash(); err != nil {
		return err
	}
	kept := 0
	for v := range visitors {
		if _, err := shop[v%2].sessions.Get(fmt.Sprint("visitor", v), kv.WithContext(ctx)); err == nil {
			kept++
		}
	}
	_, _ = fmt.Fprintf(out, "one crashed, %d sessions are still there\n", kept) // it is only shown
	return shop[2].stop()
}
