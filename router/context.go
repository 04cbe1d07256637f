package router

import (
	"context"

	"github.com/micro/go-platform/internal/header"
)

type contextKey struct{}

// NewContext returns a context that carries r.
func NewContext(ctx context.Context, r Router) context.Context {
	return context.WithValue(ctx, contextKey{}, r)
}

// FromContext returns the router that ctx carries.
func FromContext(ctx context.Context) (Router, bool) {
	r, ok := ctx.Value(contextKey{}).(Router)
	return r, ok
}

type stickyKey struct{}

// WithKey gives the calls of ctx a sticky key, a user's id say: where rules
// divide calls among versions the same key always goes to the same one, in
// every process. It does not travel with the call; see StickyBy for one that
// does.
func WithKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, stickyKey{}, key)
}

// WithLabel sets a label on the calls of ctx, as metadata that travels on.
func WithLabel(ctx context.Context, name, value string) context.Context {
	return header.Merge(ctx, LabelPrefix+name, value)
}

type idempotentKey struct{}

// WithIdempotent marks the calls of ctx as such that may run twice.
func WithIdempotent(ctx context.Context) context.Context {
	return context.WithValue(ctx, idempotentKey{}, true)
}
