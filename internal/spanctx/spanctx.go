// Package spanctx is where a context keeps its current span, so that log can
// read the ids without importing trace and the grpc stack behind it.
package spanctx

import "context"

// Span is what others may know of a span.
type Span interface {
	// SpanIDs returns the ids as they are written in logs and headers.
	SpanIDs() (traceID, spanID string)
}

type key struct{}

// With returns a context that carries s.
func With(ctx context.Context, s Span) context.Context {
	return &spanContext{ctx, s}
}

// spanContext is context.WithValue with fewer bytes and checks: every span of
// every call makes one.
type spanContext struct {
	context.Context
	span Span
}

func (c *spanContext) Value(k any) any {
	if k == (key{}) {
		return c.span
	}
	return c.Context.Value(k)
}

// From returns the span of ctx, or nil.
func From(ctx context.Context) Span {
	s, _ := ctx.Value(key{}).(Span)
	return s
}
