package e2e_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/discovery"
	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/monitor"
	"github.com/micro/go-platform/trace"
)

// withoutAService makes client.DefaultClient one whose registry knows nobody.
func withoutAService(t *testing.T, stack string) {
	t.Helper()
	net, was := rpctest.New(t), client.DefaultClient
	client.DefaultClient = net.Client(stack)
	t.Cleanup(func() { client.DefaultClient = was })
}

// A plugin that was given no client and finds no service says what to do, in an
// error or in the log.
func TestPluginsWithoutAClientSaySo(t *testing.T) {
	const remedy = "no Client was given, so the registry of client.DefaultClient (memory) was asked: pass the client of your service, Client(service.Client())"
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		withoutAService(t, stack)
		for name, use := range map[string]func() error{
			"auth": func() error {
				a := auth.NewAuth(auth.Id("shop"), auth.Secret("secret"), auth.Logger(slog.New(slog.DiscardHandler)))
				defer func() { _ = a.Stop() }() // nothing is kept
				if err := a.Start(); err != nil {
					return err
				}
				_, err := a.Token()
				return err
			},
			"config": func() error {
				_, err := config.NewSource().Read()
				return err
			},
			"db": func() error {
				d := db.NewDB()
				defer func() { _ = d.Stop() }() // nothing is kept
				_, err := d.Read("x")
				return err
			},
			"event": func() error {
				e := event.NewEvent()
				defer func() { _ = e.Stop() }() // nothing waits
				if err := e.Start(); err != nil {
					return err
				}
				return e.Publish(context.Background(), &event.Record{Type: "x"})
			},
		} {
			if err := use(); err == nil || !strings.Contains(err.Error(), remedy) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for name, use := range map[string]func(*slog.Logger) (stop func() error){
			"discovery": func(l *slog.Logger) func() error {
				d := discovery.NewDiscovery(discovery.Registry(memreg.New()), discovery.Logger(l))
				node := &registry.Node{Id: "shop-1", Address: "127.0.0.1:1"}
				if err := errors.Join(d.Start(), d.Register(&registry.Service{Name: "shop", Version: "v1", Nodes: []*registry.Node{node}})); err != nil {
					t.Error(err)
				}
				return d.Stop
			},
			"monitor": func(l *slog.Logger) func() error {
				m := monitor.NewMonitor(monitor.Server(server.NewServer(server.Name("shop"), server.Registry(memreg.New()))), monitor.Logger(l))
				if err := m.Start(); err != nil {
					t.Error(err)
				}
				return m.Stop
			},
			"trace": func(l *slog.Logger) func() error {
				tr := trace.NewTrace(trace.Logger(l), trace.BatchSize(1))
				if err := errors.Join(tr.Start(), tr.Collect(tr.NewSpan(nil))); err != nil {
					t.Error(err)
				}
				return tr.Stop
			},
		} {
			logged := &rpctest.Buffer{}
			stop := use(slog.New(slog.NewTextHandler(logged, nil)))
			rpctest.Eventually(t, name+" says so", func() bool { return strings.Contains(logged.String(), remedy) })
			_ = stop() // what is lost is not the question
		}
	})
}
