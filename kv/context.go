package kv

import "context"

type contextKey struct{}

// NewContext returns a context that carries k.
func NewContext(ctx context.Context, k KV) context.Context {
	return context.WithValue(ctx, contextKey{}, k)
}

// FromContext returns the KV that NewContext put into ctx.
func FromContext(ctx context.Context) (KV, bool) {
	k, ok := ctx.Value(contextKey{}).(KV)
	return k, ok
}
