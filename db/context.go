package db

import "context"

type contextKey struct{}

// NewContext returns a context that carries d.
func NewContext(ctx context.Context, d DB) context.Context {
	return context.WithValue(ctx, contextKey{}, d)
}

// FromContext returns the DB that NewContext put into ctx.
func FromContext(ctx context.Context) (DB, bool) {
	d, ok := ctx.Value(contextKey{}).(DB)
	return d, ok
}
