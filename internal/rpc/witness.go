package rpc

import (
	"context"
	"sync/atomic"

	"go-micro.dev/v6/client"
	"google.golang.org/grpc"
)

// Witness is a context that knows whether a call was sent. Errors do not
// tell: a handler may hand on that it did not reach a server of its own.
type Witness struct {
	context.Context
	state atomic.Int32
}

// States of a call.
const (
	unknown    int32 = iota // the client does not tell
	connecting              // or failed to
	sent                    // at least begun, over a connection that stood
)

type witnessKey struct{}

// Value implements context.Context.
func (w *Witness) Value(key any) any {
	if key == (witnessKey{}) {
		return w
	}
	return w.Context.Value(key)
}

// WitnessOf returns the Witness that ctx derives from, nil if there is none.
func WitnessOf(ctx context.Context) *Witness {
	w, _ := ctx.Value(witnessKey{}).(*Witness) // nil if there is none
	return w
}

// watched puts a Witness into the contexts of calls. One that is there is of another
// call, of which this one is a part.
type watched struct{ client.Client }

// Call implements client.Client.
func (w watched) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	return w.Client.Call(&Witness{Context: ctx}, req, rsp, opts...)
}

// Stream implements client.Client.
func (w watched) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	return w.Client.Stream(&Witness{Context: ctx}, req, opts...)
}

// Unsent reports whether no connection for the call ever stood. It is false
// where the client does not tell. The receiver may be nil.
func (w *Witness) Unsent() bool { return w != nil && w.state.Load() == connecting }

// witnessed returns the dial options by which calls note that they were sent: grpc
// asks for credentials when it has a connection and writes the headers of a call.
func witnessed() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithPerRPCCredentials(notary{}),
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			WitnessOf(ctx).begun()
			return invoke(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			WitnessOf(ctx).begun()
			return stream(ctx, desc, cc, method, opts...)
		}),
	}
}

func (w *Witness) begun() {
	if w != nil {
		w.state.CompareAndSwap(unknown, connecting)
	}
}

// notary adds no credentials.
type notary struct{}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (notary) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	if w := WitnessOf(ctx); w != nil {
		w.state.Store(sent)
	}
	return nil, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (notary) RequireTransportSecurity() bool { return false }
