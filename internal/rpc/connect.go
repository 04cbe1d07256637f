package rpc

import (
	"context"
	"time"

	"go-micro.dev/v6/client"
	mgrpc "go-micro.dev/v6/client/grpc"
	"go-micro.dev/v6/transport"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// ConnectTimeout is how long grpc may take to connect, well below the bound of a
// call: another node can be tried then. A first packet that is lost is sent again
// after a second.
const ConnectTimeout = 1500 * time.Millisecond

// reconnect bounds how long after its return a server is still taken for dead, and
// how long a host that swallows packets is waited for: grpc's own backoff grows to
// two minutes, and it connects for twenty seconds.
func reconnect(timeout time.Duration) grpc.DialOption {
	c := backoff.DefaultConfig
	c.BaseDelay, c.MaxDelay = 100*time.Millisecond, time.Second
	return grpc.WithConnectParams(grpc.ConnectParams{Backoff: c, MinConnectTimeout: timeout})
}

// BoundConnects has a grpc client of a user's connect within its client.DialTimeout,
// which go-micro ignores on grpc, or within ConnectTimeout where that is go-micro's
// default. Its calls note in a Witness whether they were sent. Dial options of the
// user's own win. Other clients stay as they are. It must come before the client's
// first call.
func BoundConnects(c client.Client) {
	if c.String() != "grpc" {
		return
	}
	_ = c.Init(func(o *client.Options) {
		timeout := o.CallOptions.DialTimeout
		if timeout <= 0 || timeout == transport.DefaultDialTimeout {
			timeout = ConnectTimeout
		}
		var ours client.CallOptions
		mgrpc.DialOptions(append(witnessed(), reconnect(timeout))...)(&ours)
		if o.CallOptions.Context == nil {
			o.CallOptions.Context = ours.Context
			return
		}
		o.CallOptions.Context = dialling{o.CallOptions.Context, ours.Context}
	}) // go-micro's grpc client always returns nil
}

// dialling is a user's context with dial options before those that it has itself:
// go-micro keeps them under a key that nobody else can name.
type dialling struct {
	context.Context
	ours context.Context
}

func (d dialling) Value(key any) any {
	theirs := d.Context.Value(key)
	first, ok := d.ours.Value(key).([]grpc.DialOption)
	if !ok {
		return theirs
	}
	second, _ := theirs.([]grpc.DialOption) // nil: there are none
	return append(first[:len(first):len(first)], second...)
}
