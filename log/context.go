package log

import "context"

type contextKey struct{}

// NewContext returns a context that carries l.
func NewContext(ctx context.Context, l Log) context.Context {
	return context.WithValue(ctx, contextKey{}, l)
}

// FromContext returns the Log that NewContext put into ctx.
func FromContext(ctx context.Context) (Log, bool) {
	l, ok := ctx.Value(contextKey{}).(Log)
	return l, ok
}
