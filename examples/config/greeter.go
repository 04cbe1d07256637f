package main

import (
	"context"
	"errors"
	"io"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/server"
	mgrpc "go-micro.dev/v6/server/grpc"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/source/memory"
	"github.com/micro/go-platform/internal/microlog"
	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/log/stdout"
	"github.com/micro/go-platform/monitor"
)

const service = "example.greeter"

// greeter is an instance of the service.
type greeter struct {
	config config.Config
	log    log.Log
}

func (g *greeter) greeting() string {
	if s := g.config.Get("greeting").String("Hi"); s != "" {
		return s
	}
	return "(nothing)"
}

func (g *greeter) debugging() bool { return g.log.Enabled(log.DebugLevel) }

// Greeter is what is called.
type Greeter struct{ *greeter }

// Text is the request and the response of Hello.
type Text struct{ Text string }

// Hello is called as Greeter.Hello.
func (g *Greeter) Hello(_ context.Context, req *Text, rsp *Text) error {
	greeting := g.config.Get("greeting").String("Hi")
	if greeting == "" {
		return errors.New("no greeting")
	}
	rsp.Text = greeting + " " + req.Text
	return nil
}

// open starts a greeter with config, log and monitor.
func (t *town) open(ctx context.Context, name string) error {
	c := t.newClient()
	srv := mgrpc.NewServer(server.Name(service), server.Id(name), server.Address("127.0.0.1:0"), server.Registry(t.registry), server.Broker(t.broker),
		server.RegisterTTL(30*time.Second), server.RegisterInterval(10*time.Second), server.WithLogger(microlog.New(t.log)))
	g := &greeter{log: log.NewLog(log.WithOutput(stdout.NewOutput(stdout.Writer(io.Discard))))}
	g.config = config.NewConfig(config.Logger(t.log),
		config.WithSource(memory.NewSource(memory.Data([]byte(`{"log":{"level":"warn"}}`)))), // defaults of the program
		config.WithSource(config.NewSource(config.SourceName(id), config.SourceClient(c), config.SourceInstance(service+"-"+name))))
	m := monitor.NewMonitor(monitor.Server(srv), monitor.Client(c), monitor.Interval(200*time.Millisecond), monitor.Logger(t.log))
	if err := srv.Init(server.WrapHandler(monitor.HandlerWrapper(m))); err != nil {
		return err
	}
	if err := srv.Handle(srv.NewHandler(&Greeter{g})); err != nil {
		return err
	}
	for _, part := range []struct{ start, stop func() error }{{g.log.Start, g.log.Stop}, {g.config.Start, g.config.Stop}, {srv.Start, srv.Stop}, {m.Start, m.Stop}} {
		if err := part.start(); err != nil {
			return err
		}
		t.ends = append(t.ends, part.stop)
	}
	t.greeters = append(t.greeters, g)
	go t.followLevel(ctx, g)
	return nil
}

// followLevel keeps the level of the log at what the config says.
func (t *town) followLevel(ctx context.Context, g *greeter) {
	err := config.Follow(ctx, g.config, func(v config.Value) {
		level, err := log.ParseLevel(v.String("info"))
		if err == nil {
			err = g.log.SetLevel(level)
		}
		if err != nil {
			t.log.Error("log/level stays as it is", "error", err)
		}
	}, "log", "level")
	if err != nil {
		t.log.Error("the log level is no longer followed", "error", err)
	}
}

// call greets all the time.
func call(ctx context.Context, c client.Client) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			var rsp Text
			_ = c.Call(ctx, c.NewRequest(service, "Greeter.Hello", &Text{"you"}, client.WithContentType("application/json")), &rsp) // monitor counts what failed
		}
	}
}
