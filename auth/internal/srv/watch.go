package srv

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/micro/go-platform/auth/internal/policy"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/rpcerr"
)

const (
	maxWatchers = 2_000 // of one account
	lifeSign    = 4 * time.Second
)

// Watch implements pb.PolicyHandler. A watcher that is slow is told less often
// and never wrongly: it gets the difference between what it knows and what is.
func (h *policyHandler) Watch(ctx context.Context, req *pb.WatchRequest, stream pb.Policy_WatchStream) error {
	v, err := h.viewOf(ctx, req.Services)
	if err != nil {
		return refuse(err)
	}
	leave, err := h.watchers.Enter(ctx)
	if err != nil {
		return refuse(err)
	}
	defer leave()
	known := h.feed.now.Load()
	if err := stream.Send(known.message(nil, v, h.feed.issuer)); err != nil {
		return err
	}
	alive := time.NewTicker(lifeSign)
	defer alive.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.done:
			return nil
		case <-alive.C:
		case <-known.changed:
			if _, err := h.viewOf(ctx, req.Services); err != nil { // what granted a name is gone
				return refuse(err)
			}
		}
		is := h.feed.now.Load()
		if err := stream.Send(is.message(known, v, h.feed.issuer)); err != nil {
			return err
		}
		known = is
	}
}

// maxViewed bounds the services whose rules one watcher is sent.
const maxViewed = 16

// viewOf returns the part of the rules that a caller is sent: those of the
// services that it asks for, whose names it must hold.
func (h *policyHandler) viewOf(ctx context.Context, services []string) (view, error) {
	c, known := callerClaims(ctx)
	everything := h.insecure || known && c.has(ScopeAdmin)
	switch {
	case len(services) > maxViewed:
		return view{}, rpcerr.Invalid("services", "%d, more than %d", len(services), maxViewed)
	case everything: // it may read all of them anyway
		return newView(nil), nil
	case !known:
		return view{}, errToken
	case len(services) == 0:
		return newView([]string{c.Subject}), nil
	}
	services = slices.Sorted(slices.Values(services))
	decider := h.feed.now.Load().rules.decider
	for _, s := range services {
		d := decider.Holds(&policy.Call{Account: c.Subject, Roles: c.Roles, Scopes: c.scopes(), Service: s})
		if !d.Allowed && s != c.Subject { // its own, whatever role it lacks
			return view{}, fmt.Errorf("%w: %.128q may not have the rules of %.256q: %s", rpcerr.ErrForbidden, c.Subject, s, d.Reason)
		}
	}
	return newView(services), nil
}
