// Config runs config-srv, monitor-srv and four instances of a greeter in one
// process and changes how they greet while they run: a change for all of them,
// one of their log level, a bad one for half of them that takes itself back, and
// a rollback.
//
//	consul agent -dev &                     # or -registry memory
//	go run ./examples/config
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

	"github.com/micro/go-platform/config"
	pb "github.com/micro/go-platform/config/proto"
	configsrv "github.com/micro/go-platform/config/srv"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/microlog"
	"github.com/micro/go-platform/internal/rpc"
	monitorsrv "github.com/micro/go-platform/monitor/srv"
)

const id = "prod:greeter"

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
	if err != nil && ctx.Err() == nil {
		_, _ = fmt.Fprintln(os.Stderr, "config:", err) // there is nobody else to tell
		os.Exit(1)
	}
}

// town is what the parts of the example share.
type town struct {
	registry registry.Registry
	broker   broker.Broker
	log      *slog.Logger
	out      io.Writer
	api      pb.ConfigService
	greeters []*greeter
	ends     []func() error
}

func run(ctx context.Context, reg registry.Registry, out io.Writer) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	t := &town{registry: reg, broker: broker.NewMemoryBroker(), out: out, log: slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelError}))}
	defer func() {
		cancel()
		for i := len(t.ends); i > 0; i-- {
			err = errors.Join(err, t.ends[i-1]())
		}
	}()
	if err := t.broker.Connect(); err != nil {
		return err
	}
	for _, s := range []daemon.Bootable{configsrv.New(), monitorsrv.New()} {
		srv, err := daemon.Start(ctx, s, daemon.Config{Registry: reg, Broker: t.broker, Logger: t.log, Insecure: true})
		if err != nil {
			return err
		}
		t.ends = append(t.ends, srv.Stop)
	}
	t.api = pb.NewConfigService(config.ServiceName, t.newClient())
	first, err := t.prepare(ctx)
	if err != nil {
		return err
	}
	for _, name := range []string{"one", "two", "three", "four"} {
		if err := t.open(ctx, name); err != nil {
			return err
		}
	}
	caller, calls := t.newClient(), make(chan struct{})
	t.ends = append(t.ends, func() error { cancel(); <-calls; return nil })
	go func() { defer close(calls); call(ctx, caller) }()
	return t.play(ctx, first)
}

// newClient returns a grpc client of its own.
func (t *town) newClient() client.Client {
	c := rpc.NewClient(rpc.Config{Registry: t.registry, Broker: t.broker, Logger: microlog.New(t.log)})
	t.ends = append(t.ends, func() error { c.Close(); return nil })
	return c
}

// prepare writes what all of prod shares, and the greeter's own.
func (t *town) prepare(ctx context.Context) (int64, error) {
	set := func(id, data string) (int64, error) {
		rsp, err := t.api.Create(ctx, &pb.CreateRequest{Change: &pb.Change{Id: id, ChangeSet: &pb.ChangeSet{Format: "yaml", Data: data}}})
		if err != nil {
			return 0, err
		}
		return rsp.Revision, nil
	}
	if _, err := set("default:CONFIG", "log: {level: info}\ntimeout: 2s\n"); err != nil {
		return 0, err
	}
	return set(id, "greeting: Hello\n")
}

// play is what an operator would do.
func (t *town) play(ctx context.Context, first int64) error {
	if err := t.until(ctx, "at first", func(g string) bool { return g == "Hello Hello Hello Hello" }); err != nil {
		return err
	}
	change := func(path, value string, r *pb.Rollout) error {
		_, err := t.api.Update(ctx, &pb.UpdateRequest{Change: &pb.Change{Id: id, Path: path, ChangeSet: &pb.ChangeSet{Data: value}}, Rollout: r})
		return err
	}
	if err := change("greeting", `"Good morning"`, nil); err != nil {
		return err
	}
	if err := t.until(ctx, "after a change", func(g string) bool { return strings.Count(g, "Good morning") == 4 }); err != nil {
		return err
	}
	if err := change("log/level", `"debug"`, nil); err != nil {
		return err
	}
	if err := t.until(ctx, "after a change of the log level", func(string) bool { return t.debugging() == 4 }); err != nil {
		return err
	}
	abort := &pb.Abort{Service: service, MaxError: 50, MinCalls: 20}
	if err := change("greeting", `""`, &pb.Rollout{Percent: 99, Abort: abort}); err != nil { // greeters cannot do without
		return err
	}
	if err := t.until(ctx, "a bad change, rolled out", func(g string) bool { return strings.Contains(g, "(nothing)") }); err != nil {
		return err
	}
	if err := t.until(ctx, "taken back by itself", func(g string) bool { return !strings.Contains(g, "(nothing)") }); err != nil {
		return err
	}
	if _, err := t.api.Rollback(ctx, &pb.RollbackRequest{Id: id, Revision: first}); err != nil {
		return err
	}
	if err := t.until(ctx, "after a rollback", func(g string) bool { return g == "Hello Hello Hello Hello" }); err != nil {
		return err
	}
	return t.audit(ctx)
}

// until waits for what the greeters say.
func (t *town) until(ctx context.Context, what string, ok func(greetings string) bool) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var all []string
		for _, g := range t.greeters {
			all = append(all, g.greeting())
		}
		if said := strings.Join(all, " "); ok(said) {
			_, _ = fmt.Fprintf(t.out, "%-32s %s\n", what+":", said) // it is only shown
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
}

// debugging counts the greeters that log at debug level.
func (t *town) debugging() (n int) {
	for _, g := range t.greeters {
		if g.debugging() {
			n++
		}
	}
	return n
}

// audit prints who did what.
func (t *town) audit(ctx context.Context) error {
	rsp, err := t.api.AuditLog(ctx, &pb.AuditLogRequest{Id: id})
	if err != nil {
		return err
	}
	for _, c := range rsp.Changes {
		_, _ = fmt.Fprintf(t.out, "revision %d: %s %s by %s %s\n", c.Change.Revision, c.Action, c.Change.Path, c.Change.Author, c.Change.Comment) // it is only shown
	}
	return nil
}
