// Package backoff is the one way this project waits before it tries again:
// exponential with full jitter, ended by the caller's context.
//
// The jitter follows M. Brooker, "Exponential Backoff And Jitter", AWS
// Architecture Blog, 2015: the wait is uniform in (0, min·2^n], capped at max,
// so that a thousand clients that lost one server do not return in step.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
)

// Backoff counts the failures of one loop. It is not safe for concurrent use.
type Backoff struct {
	Min time.Duration // bound of the first wait, default 100 ms
	Max time.Duration // bound of any wait, default 10 s

	failures int
}

// Next returns the next wait and counts one more failure.
func (b *Backoff) Next() time.Duration {
	low, high := b.Min, b.Max
	if low <= 0 {
		low = 100 * time.Millisecond
	}
	if high <= 0 {
		high = 10 * time.Second
	}
	bound := high
	if b.failures < 32 && low<<b.failures > 0 && low<<b.failures < high {
		bound = low << b.failures
	}
	b.failures++
	return 1 + rand.N(bound)
}

// Wait sleeps for Next, or returns the context's error as soon as it ends.
func (b *Backoff) Wait(ctx context.Context) error {
	if !lifecycle.Sleep(ctx, b.Next()) {
		return ctx.Err()
	}
	return nil
}

// Reset forgets the failures: call it after a success.
func (b *Backoff) Reset() { b.failures = 0 }
