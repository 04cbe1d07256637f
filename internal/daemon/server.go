package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go-micro.dev/v5/registry"
	"go-micro.dev/v5/server"
	mgrpc "go-micro.dev/v5/server/grpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

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
		Logger:   microlog.New(c.Logger),
	}
}

// newServer returns a server whose handlers are wrapped, the first outermost.
func newServer(name, id string, c Config, subscribers []server.SubscriberWrapper, wrappers ...server.HandlerWrapper) server.Server {
	opts := []server.Option{
		server.Name(name),
		server.Id(id),
		server.Version(c.Version),
		server.Address(c.Address),
		server.Advertise(c.Advertise),
		server.Registry(c.Registry),
		server.Broker(membroker.Shared(c.Broker)),
		server.RegisterTTL(registerTTL),
		server.RegisterInterval(registerInterval),
		server.WithLogger(microlog.New(c.Logger)),
		mgrpc.MaxMsgSize(rpc.MaxMessage),
		mgrpc.Options(
			grpc.ConnectionTimeout(10*time.Second),
			grpc.MaxConcurrentStreams(1000),
			grpc.MaxHeaderListSize(maxMetadata),
			grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		),
	}
	for _, w := range subscribers {
		opts = append(opts, server.WrapSubscriber(w))
	}
	for _, w := range wrappers {
		opts = append(opts, server.WrapHandler(w))
	}
	if c.TLS != nil {
		opts = append(opts, mgrpc.AuthTLS(c.TLS))
	}
	return mgrpc.NewServer(opts...)
}

// registered waits until the registry knows the server: go-micro's Start
// returns nil when it could not register.
func registered(ctx context.Context, env *Env) error {
	o := env.Server.Options()
	id := o.Name + "-" + o.Id
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		services, err := o.Registry.GetService(o.Name)
		if err == nil && hasNode(services, id) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not registered at %s: %w", o.Registry.String(), errors.Join(ctx.Err(), err))
		case <-ticker.C:
		}
	}
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
