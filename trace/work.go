package trace

import "context"

// Begin opens a span around any work, a child of the context's span, and
// returns a context with it. End ends it. Use Do where the work is a function.
func Begin(ctx context.Context, t Trace, name string) (context.Context, *Span) {
	parent, _ := t.FromContext(ctx)
	s := t.NewSpan(parent)
	s.Name = name
	return t.NewContext(ctx, s), s
}

// End collects a span of Begin; err says whether the work failed.
func End(t Trace, s *Span, err error) { finish(t, s, AnnUnknown, nil, err) }

// Do runs work in a span of the given name and returns its error. A panic is
// recorded as a failure and goes on.
func Do(ctx context.Context, t Trace, name string, work func(context.Context) error) error {
	ctx, s := Begin(ctx, t, name)
	err := errPanic
	defer func() { End(t, s, err) }()
	err = work(ctx)
	return err
}
