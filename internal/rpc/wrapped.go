package rpc

import (
	"context"
	"slices"

	"go-micro.dev/v6/client"
)

// wrapped returns made within the wrappers that another client was made with.
// Wrappers that carry themselves are left out: they would do their work twice.
func wrapped(made client.Client, o client.Options) client.Client {
	if len(o.CallOptions.CallWrappers) > 0 {
		made = &callWrapped{made, client.WithCallWrapper(o.CallOptions.CallWrappers...)}
	}
	for _, w := range slices.Backward(o.Wrappers) {
		if around := w(made); carried(around.Options()) == nil {
			made = around
		}
	}
	return made
}

// callWrapped is a client whose calls go through wrappers, each try by itself;
// streams do not, as with go-micro.
type callWrapped struct {
	client.Client
	wrap client.CallOption
}

// Call implements client.Client.
func (c *callWrapped) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	return c.Client.Call(ctx, req, rsp, append(slices.Clip(opts), c.wrap)...)
}
