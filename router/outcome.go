package router

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/router/internal/balance"
)

// outcome is what err tells about the node. ctx is that of the call, if known.
func (p *platform) outcome(ctx context.Context, node *registry.Node, err error) balance.Outcome {
	switch {
	case err == nil || call.Ended(err):
		return balance.OK
	case errors.Is(ctx.Err(), context.Canceled), errors.Is(err, context.Canceled):
		return balance.Void
	case p.witnessed.Load() && rpc.WitnessOf(ctx).Unsent():
		return balance.Unreached
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

// neverSent reports whether the client could not even connect to the node. It
// must be the node that was dialled: a handler may hand on that it did not reach
// a node of another service, after it did half of its work.
func neverSent(e *merrors.Error, node *registry.Node) bool {
	if e.Id != "go.micro.client" || node == nil {
		return false
	}
	rpc := e.Code == 500 && strings.HasPrefix(e.Detail, "connection error: ")
	grpc := strings.Contains(e.Detail, "transport: Error while dialing")
	return (rpc || grpc) && dialled(e.Detail, node.Address)
}

// lookupTimeout bounds what it takes to learn which address a name had.
const lookupTimeout = 200 * time.Millisecond

// dialled reports whether the text is about a connection to the address. Where
// the host of the address is a name, the text may have the IP that it was
// resolved to.
func dialled(text, address string) bool {
	if strings.Contains(text, "dial tcp "+address+":") {
		return true
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if _, after, ok := strings.Cut(text, "dial tcp: lookup "+host); ok {
		return strings.HasPrefix(after, ":") || strings.HasPrefix(after, " on ")
	}
	_, after, _ := strings.Cut(text, "dial tcp ")
	to, _, _ := strings.Cut(after, ": ")
	got, err := netip.ParseAddrPort(to)
	if err != nil || strconv.Itoa(int(got.Port())) != port {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	return err == nil && slices.ContainsFunc(found, func(a netip.Addr) bool { return a.Unmap() == got.Addr().Unmap() })
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
