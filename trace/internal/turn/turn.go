// Package turn sends to one of several equivalent collectors.
package turn

import (
	"context"
	"errors"
	"time"
)

// Turn remembers the collector that took the last batch. It is not safe for
// concurrent use.
type Turn struct{ at int }

// Try calls send with one of n collectors after the other until one takes the
// batch, beginning with the one that took the last batch. Each gets an equal share of
// what is left of the timeout, or of the time until ctx ends, so that one that hangs
// leaves time for the others. It returns nil, or one error per collector that was
// tried.
func (t *Turn) Try(ctx context.Context, n int, timeout time.Duration, send func(ctx context.Context, i int) error) (errs []error) {
	end := time.Now().Add(timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	for first, i := t.at, 0; i < n; i++ {
		t.at = (first + i) % n
		err := bounded(ctx, time.Until(end)/time.Duration(n-i), t.at, send)
		if err == nil {
			return nil
		}
		if errs = append(errs, err); ctx.Err() != nil {
			break
		}
	}
	t.at = (t.at + 1) % n
	return errs
}

func bounded(ctx context.Context, timeout time.Duration, i int, send func(context.Context, int) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return send(ctx, i)
}

// All reports whether all n collectors were tried and each error is is. Only then
// is a batch refused for good: another collector may take what one refuses.
func All(errs []error, n int, is error) bool {
	for _, err := range errs {
		if !errors.Is(err, is) {
			return false
		}
	}
	return len(errs) == n
}
