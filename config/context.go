package config

import "context"

type contextKey struct{}

// NewContext returns a context that carries c.
func NewContext(ctx context.Context, c Config) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// FromContext returns the config that ctx carries.
func FromContext(ctx context.Context) (Config, bool) {
	c, ok := ctx.Value(contextKey{}).(Config)
	return c, ok
}
