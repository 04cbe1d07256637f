package sync

import "context"

type contextKey struct{}

// NewContext returns a context that carries s.
func NewContext(ctx context.Context, s Sync) context.Context {
	return context.WithValue(ctx, contextKey{}, s)
}

// FromContext returns the Sync that NewContext put into ctx.
func FromContext(ctx context.Context) (Sync, bool) {
	s, ok := ctx.Value(contextKey{}).(Sync)
	return s, ok
}
