package discovery

import "context"

type contextKey struct{}

// NewContext returns a context that carries d.
func NewContext(ctx context.Context, d Discovery) context.Context {
	return context.WithValue(ctx, contextKey{}, d)
}

// FromContext returns the discovery that ctx carries.
func FromContext(ctx context.Context) (Discovery, bool) {
	d, ok := ctx.Value(contextKey{}).(Discovery)
	return d, ok
}
