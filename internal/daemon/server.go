package daemon

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/server"
	mgrpc "go-micro.dev/v6/server/grpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/micro/go-platform/auth/guard"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/membroker"
	"github.com/micro/go-platform/internal/microlog"
	"github.com/micro/go-platform/internal/rpc"
)

// maxMetadata bounds the metadata of a call: 8 KB in 64 keys, plus the 32 bytes
// that HTTP/2 counts for each (RFC 9113, section 6.5.2) and grpc's own headers.
const maxMetadata = 8<<10 + 64*32 + 1<<10

func clientConfig(c Config) rpc.Config {
	return rpc.Config{
		Registry: c.Registry,
		Broker:   membroker.Shared(c.Broker),
		TLS:      c.TLS,
		Creds:    c.DialTLS,
		Logger:   microlog.New(c.Logger),
	}
}

// newServer returns a server whose handlers are wrapped, the first outermost.
func newServer(name, id string, c Config, g *guard.Guard, subscribers []server.SubscriberWrapper, wrappers ...server.HandlerWrapper) server.Server {
	opts := []server.Option{
		server.Name(name),
		server.Id(id),
		server.Version(c.Version),
		server.Address(c.Address),
		server.Advertise(c.Advertise),
		server.Registry(c.Registry),
		server.Broker(membroker.Shared(c.Broker)),
		server.RegisterTTL(3 * c.RegisterInterval),
		server.RegisterInterval(c.RegisterInterval),
		server.WithLogger(microlog.New(c.Logger)),
		mgrpc.MaxMsgSize(rpc.MaxMessage),
		mgrpc.Options(append(g.ServerOptions(),
			grpc.ConnectionTimeout(10*time.Second),
			grpc.MaxConcurrentStreams(1000),
			grpc.MaxHeaderListSize(maxMetadata),
			grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		)...),
	}
	for _, w := range subscribers {
		opts = append(opts, server.WrapSubscriber(w))
	}
	opts = append(opts, server.WrapHandler(g.HandlerWrapper()))
	for _, w := range wrappers {
		opts = append(opts, server.WrapHandler(w))
	}
	if c.TLS != nil {
		opts = append(opts, mgrpc.AuthTLS(c.TLS))
	}
	return mgrpc.NewServer(opts...)
}

// issuerPatience is how long the start of go.micro.srv.auth waits for a registry
// that may wait for go.micro.srv.auth.
const issuerPatience = 5 * time.Second

// registered waits until the registry knows the server: go-micro's Start
// returns nil when it could not register. An issuer serves nevertheless: others
// reach it by its address, and it goes on registering.
func registered(ctx context.Context, env *Env, issuer bool) error {
	if !issuer {
		return awaitRegistration(ctx, env)
	}
	env.Ready("registry", func(context.Context) error { return lookup(env) })
	short, cancel := context.WithTimeout(ctx, issuerPatience)
	defer cancel()
	if err := awaitRegistration(short, env); err != nil {
		if ctx.Err() != nil {
			return err
		}
		env.Logger.Warn("serving without being registered, will go on trying", "error", clean.URLError(err))
	}
	return nil
}

func awaitRegistration(ctx context.Context, env *Env) error {
	w := env.Waiting("the registry", "registry", env.Registry.String())
	defer w.Over()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := lookup(env)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-ticker.C:
			w.Tell(err)
		}
	}
}

// lookup returns an error unless the registry knows the server.
func lookup(env *Env) error {
	o := env.Server.Options()
	services, err := o.Registry.GetService(o.Name)
	if err != nil || !hasNode(services, o.Name+"-"+o.Id) {
		return fmt.Errorf("not registered at %s: %w", o.Registry.String(), cmp.Or(err, registry.ErrNotFound))
	}
	return nil
}

func hasNode(services []*registry.Service, id string) bool {
	for _, s := range services {
		for _, n := range s.Nodes {
			if n.Id == id {
				return true
			}
		}
	}
	return false
}

// recoverHandler matters for streams: go-micro recovers unary handlers only.
func recoverHandler(name string, c Config) server.HandlerWrapper {
	return func(next server.HandlerFunc) server.HandlerFunc {
		return func(ctx context.Context, req server.Request, rsp any) (err error) {
			defer func() {
				if p := recover(); p != nil {
					c.Logger.Error("handler panicked", "endpoint", req.Endpoint(), "panic", p)
					err = internalError(name)
				}
			}()
			return next(ctx, req, rsp)
		}
	}
}

// recoverSubscriber keeps a panic in a subscriber from ending the process.
func recoverSubscriber(c Config) server.SubscriberWrapper {
	return func(next server.SubscriberFunc) server.SubscriberFunc {
		return func(ctx context.Context, msg server.Message) (err error) {
			defer func() {
				if p := recover(); p != nil {
					c.Logger.Error("subscriber panicked", "topic", msg.Topic(), "panic", p)
					err = fmt.Errorf("subscriber of %s panicked", msg.Topic())
				}
			}()
			return next(ctx, msg)
		}
	}
}
