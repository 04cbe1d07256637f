package rpc

import (
	"context"
	"crypto/tls"
	"sync"
	"sync/atomic"
	"time"

	"go-micro.dev/v6/broker"
	"go-micro.dev/v6/client"
	mgrpc "go-micro.dev/v6/client/grpc"
	"go-micro.dev/v6/logger"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
)

// Config says what a Client is made of.
type Config struct {
	Registry registry.Registry
	Broker   broker.Broker
	TLS      *tls.Config                      // nil: plain text
	Creds    credentials.TransportCredentials // in place of TLS
	Logger   logger.Logger
	// Selector chooses the nodes in place of one of the client's own. Its owner
	// closes it.
	Selector selector.Selector
	Wrappers []client.Wrapper
}

// Client is a go-micro grpc client that can be closed.
type Client struct {
	client.Client
	selector selector.Selector // nil: not ours
	conns    conns
}

// NewClient returns a client with a selector of its own, which shares nothing
// with go-micro's global defaults. It does no I/O.
func NewClient(c Config) *Client {
	if c.Registry == nil {
		c.Registry = registry.DefaultRegistry
	}
	if c.Logger == nil {
		c.Logger = logger.DefaultLogger
	}
	cl := &Client{}
	if c.Selector == nil {
		cl.selector = newNodes(c.Registry)
		c.Selector = cl.selector
	}
	dial := cl.conns.dialOptions()
	if c.Creds != nil {
		dial = append(dial, grpc.WithTransportCredentials(c.Creds)) // the last one counts
	}
	opts := []client.Option{
		client.Selector(c.Selector),
		client.Registry(c.Registry),
		client.Broker(c.Broker),
		client.WithLogger(c.Logger),
		client.ContentType("application/protobuf"),
		mgrpc.MaxRecvMsgSize(MaxMessage),
		mgrpc.MaxSendMsgSize(MaxMessage),
		func(o *client.Options) { mgrpc.DialOptions(dial...)(&o.CallOptions) },
	}
	if c.TLS != nil {
		opts = append(opts, mgrpc.AuthTLS(c.TLS))
	}
	cl.Client = watched{mgrpc.NewClient(opts...)}
	for i := len(c.Wrappers); i > 0; i-- {
		cl.Client = c.Wrappers[i-1](cl.Client)
	}
	return cl
}

// Close closes every connection and the selector's cache. Calls in flight
// fail.
func (c *Client) Close() {
	if c.selector != nil {
		if err := c.selector.Close(); err != nil {
			c.Options().Logger.Logf(logger.WarnLevel, "close selector: %v", err)
		}
	}
	c.conns.close()
}

// idleTimeout ends connections to nodes that are gone: go-micro's pool keeps
// them for ever.
const idleTimeout = 5 * time.Minute

// conns knows the connections in go-micro's pool, which has no way to close
// them, from the interceptors that are handed each of them.
type conns struct {
	all    sync.Map // *grpc.ClientConn
	closed atomic.Bool
}

func (c *conns) dialOptions() []grpc.DialOption {
	return append(witnessed(),
		grpc.WithIdleTimeout(idleTimeout),
		reconnect(ConnectTimeout),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)),
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			c.see(cc)
			return invoke(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			c.see(cc)
			return stream(ctx, desc, cc, method, opts...)
		}))
}

func (c *conns) see(cc *grpc.ClientConn) {
	if _, known := c.all.Load(cc); known {
		return
	}
	c.all.Range(func(k, _ any) bool {
		if k.(*grpc.ClientConn).GetState() == connectivity.Shutdown {
			c.all.Delete(k)
		}
		return true
	})
	c.all.Store(cc, nil)
	if c.closed.Load() { // a call that was under way has opened it
		c.close()
	}
}

func (c *conns) close() {
	c.closed.Store(true)
	c.all.Range(func(k, _ any) bool {
		_ = k.(*grpc.ClientConn).Close() // it only says that it is closed already
		c.all.Delete(k)
		return true
	})
}
