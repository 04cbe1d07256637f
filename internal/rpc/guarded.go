package rpc

import (
	"context"
	"fmt"

	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"

	"github.com/micro/go-platform/internal/clean"
)

// guarded calls a user's client, and the wrappers around it, under recover: plugins
// call in goroutines of their own, where a panic ends the process.
type guarded struct{ client.Client }

func caught(err *error) {
	if p := recover(); p != nil {
		*err = merrors.InternalServerError("go.micro.client", "%s", fmt.Sprint("the client panics: ", clean.Value(p, 1<<10)))
	}
}

// Call implements client.Client.
func (g guarded) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) (err error) {
	defer caught(&err)
	return g.Client.Call(ctx, req, rsp, opts...)
}

// Publish implements client.Client.
func (g guarded) Publish(ctx context.Context, msg client.Message, opts ...client.PublishOption) (err error) {
	defer caught(&err)
	return g.Client.Publish(ctx, msg, opts...)
}

// Stream implements client.Client.
func (g guarded) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (s client.Stream, err error) {
	defer caught(&err)
	s, err = g.Client.Stream(ctx, req, opts...)
	if err != nil {
		return s, err
	}
	return guardedStream{s}, nil
}

type guardedStream struct{ client.Stream }

// Send implements client.Stream.
func (g guardedStream) Send(msg any) (err error) {
	defer caught(&err)
	return g.Stream.Send(msg)
}

// Recv implements client.Stream.
func (g guardedStream) Recv(msg any) (err error) {
	defer caught(&err)
	return g.Stream.Recv(msg)
}

// Close implements client.Stream.
func (g guardedStream) Close() (err error) {
	defer caught(&err)
	return g.Stream.Close()
}
