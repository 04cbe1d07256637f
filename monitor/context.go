package monitor

import "context"

type contextKey struct{}

// NewContext returns a context that carries m.
func NewContext(ctx context.Context, m Monitor) context.Context {
	return context.WithValue(ctx, contextKey{}, m)
}

// FromContext returns the monitor that ctx carries.
func FromContext(ctx context.Context) (Monitor, bool) {
	m, ok := ctx.Value(contextKey{}).(Monitor)
	return m, ok
}
