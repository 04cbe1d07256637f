package option

import "context"

type key[T any] struct{}

// With returns ctx with its T changed by change. The options of a plugin travel
// in this way in the Options.Context of its feature, which does not know them.
func With[T any](ctx context.Context, change func(*T)) context.Context {
	t := From[T](ctx)
	change(&t)
	if ctx == nil {
		ctx = context.Background()
	}
	return context.WithValue(ctx, key[T]{}, t)
}

// From returns the T that With left in ctx, or else the zero T.
func From[T any](ctx context.Context) (t T) {
	if ctx != nil {
		t, _ = ctx.Value(key[T]{}).(T)
	}
	return t
}
