package statsd

import "context"

type dialectKey struct{}

// WithDialect and DialectOf let metrics/statsd choose the dialect of the
// default plugin through the context of its options, without an option in the
// package everybody imports.
func WithDialect(ctx context.Context, d Dialect) context.Context {
	return context.WithValue(ctx, dialectKey{}, d)
}

// DialectOf returns the dialect of ctx, Telegraf unless set.
func DialectOf(ctx context.Context) Dialect {
	d, _ := ctx.Value(dialectKey{}).(Dialect)
	return d
}
