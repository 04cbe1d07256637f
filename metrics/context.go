package metrics

import "context"

type contextKey struct{}

// NewContext returns a context that carries m.
func NewContext(ctx context.Context, m Metrics) context.Context {
	return context.WithValue(ctx, contextKey{}, m)
}

// FromContext returns the metrics that ctx carries.
func FromContext(ctx context.Context) (Metrics, bool) {
	m, ok := ctx.Value(contextKey{}).(Metrics)
	return m, ok
}
