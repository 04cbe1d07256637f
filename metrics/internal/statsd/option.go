package statsd

import (
	"context"

	"github.com/micro/go-platform/internal/option"
)

// WithDialect and DialectOf let metrics/statsd choose the dialect of the
// default plugin through the context of its options, without an option in the
// package everybody imports.
func WithDialect(ctx context.Context, d Dialect) context.Context {
	return option.With(ctx, func(to *Dialect) { *to = d })
}

// DialectOf returns the dialect of ctx, Telegraf unless set.
func DialectOf(ctx context.Context) Dialect { return option.From[Dialect](ctx) }
