package router

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"

	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/router/internal/balance"
)

// outcome is what err tells about the node. ctx is that of the call, if known.
func (p *platform) outcome(ctx context.Context, node *registry.Node, err error) balance.Outcome {
	switch {
	case err == nil || call.Ended(err):
		return balance.OK
	case errors.Is(ctx.Err(), context.Canceled), errors.Is(err, context.Canceled):
		return balance.Void
	case errors.Is(err, context.DeadlineExceeded):
		return balance.Failed
	}
	e := call.Parse(err)
	switch {
	case neverSent(e, node):
		return balance.Unreached
	case e.Code == 429:
		return balance.Refused
	case e.Code == 408 && strings.Contains(e.Detail, context.Canceled.Error()):
		return balance.Void
	case e.Code == 408:
		return balance.Failed
	case e.Code >= 400 && e.Code < 500:
		return balance.OK
	}
	return balance.Failed
}

// neverSent tells whether the client could not even connect to the node. The
// node's address must be in the error: a handler may hand on that it did not
// reach a node of another service, after it did half of its work.
func neverSent(e *merrors.Error, node *registry.Node) bool {
	if e.Id != "go.micro.client" || node == nil || !strings.Contains(e.Detail, "dial tcp "+node.Address+":") {
		return false
	}
	rpc := e.Code == 500 && strings.HasPrefix(e.Detail, "connection error: ")
	grpc := strings.Contains(e.Detail, "transport: Error while dialing")
	return rpc || grpc
}

// unsent remembers the errors of calls that were never sent on their way from
// the CallWrapper, which knows the node, to the retry function, which does not.
// Of more than its size at a time the oldest are forgotten, and not retried
// unless idempotent.
type unsent struct {
	turn  atomic.Uint32
	slots [64]atomic.Pointer[merrors.Error]
}

func (u *unsent) put(err error) {
	var e *merrors.Error
	if errors.As(err, &e) {
		u.slots[u.turn.Add(1)%uint32(len(u.slots))].Store(e)
	}
}

func (u *unsent) take(err error) bool {
	var e *merrors.Error
	if !errors.As(err, &e) {
		return false
	}
	for i := range u.slots {
		if u.slots[i].Load() == e {
			return u.slots[i].CompareAndSwap(e, nil)
		}
	}
	return false
}
