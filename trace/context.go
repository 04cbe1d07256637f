package trace

import (
	"context"

	"github.com/micro/go-platform/internal/spanctx"
)

type contextKey struct{}

// NewContext returns a context that carries t.
func NewContext(ctx context.Context, t Trace) context.Context {
	return context.WithValue(ctx, contextKey{}, t)
}

// FromContext returns the Trace that NewContext put into ctx.
func FromContext(ctx context.Context) (Trace, bool) {
	t, ok := ctx.Value(contextKey{}).(Trace)
	return t, ok
}

func spanFrom(ctx context.Context) (*Span, bool) {
	s, ok := spanctx.From(ctx).(*Span)
	return s, ok && s != nil
}
