package router

import (
	"context"
	"math/rand/v2"
	"path"
	"strings"
	"time"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/internal/call"
)

// retries are the functions that calls are given, made once.
type retries struct{ usual, idempotent client.RetryFunc }

// retry decides for go-micro's client whether a failed call is tried again.
func (p *platform) retry(ctx context.Context, req client.Request, _ int, err error) (bool, error) {
	return p.again(ctx, req, err, p.unsent.take(err), false), nil
}

func (p *platform) retryIdempotent(ctx context.Context, req client.Request, _ int, err error) (bool, error) {
	return p.again(ctx, req, err, p.unsent.take(err), true), nil
}

// again reports whether a call that ended with err may be made once more: it was
// never sent, or it failed and may run twice; there is time left for it; and
// the budget has room.
func (p *platform) again(ctx context.Context, req client.Request, err error, unsent, idempotent bool) bool {
	if err == nil || ctx.Err() != nil {
		return false
	}
	s := p.find(req.Service())
	if s == nil {
		return false
	}
	if !unsent && (!retriable(err) || !idempotent && !p.idempotent(ctx, req)) {
		return false
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < s.pool.Typical() {
		return false
	}
	return s.budget.withdraw()
}

// retriable reports whether another node may do better. A deadline that passed is
// not tried again: on the rpc stack the first try may still write into the
// response.
func retriable(err error) bool {
	switch code := call.Code(err); code {
	case 0, 500, 502, 503, 504:
		return true
	default:
		return false
	}
}

// idempotent reports whether the call may run twice.
func (p *platform) idempotent(ctx context.Context, req client.Request) bool {
	if marked, _ := ctx.Value(idempotentKey{}).(bool); marked {
		return true
	}
	for _, pattern := range p.set.Idempotent {
		name := req.Endpoint()
		if strings.Contains(pattern, "/") {
			name = req.Service() + "/" + name
		}
		if ok, err := path.Match(pattern, name); ok && err == nil {
			return true
		}
	}
	return false
}

// retryAfter lets the first retry go at once, to another node, and later ones
// after a short time that differs from caller to caller.
func retryAfter(_ context.Context, _ client.Request, attempt int) (time.Duration, error) {
	if attempt < 2 {
		return 0, nil
	}
	return rand.N(10 * time.Millisecond << min(attempt, 5)), nil
}

// IdempotentCall is a call option that marks one call as such that may run
// twice. It has an effect below ClientWrapper.
func IdempotentCall() client.CallOption {
	return func(o *client.CallOptions) {
		if o.Context == nil {
			return
		}
		if p, ok := o.Context.Value(routerKey{}).(*platform); ok {
			o.Retry = p.retries.idempotent
		}
	}
}

// routerKey is where CallOptions.Context has the router of ClientWrapper.
type routerKey struct{}
