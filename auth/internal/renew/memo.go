package renew

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/micro/go-platform/auth/internal/jwt"
)

// Memo remembers what was fetched for a key until it expires. It keeps nothing
// fresh: it is for what is seldom wanted again. It is bounded, and safe for
// concurrent use.
type Memo[T any] struct {
	timeout time.Duration
	cache   *jwt.Cache[*kept[T]]
	flight  singleflight.Group
}

type kept[T any] struct {
	value T
	until time.Time // by the monotonic clock
}

// NewMemo returns an empty Memo of size to twice size values, whose fetches take
// no longer than the timeout.
func NewMemo[T any](size int, timeout time.Duration) *Memo[T] {
	return &Memo[T]{timeout: timeout, cache: jwt.NewCache[*kept[T]](size)}
}

// Get returns the value of a key. It is fetched once however many ask; each
// waits for it until its context ends. Errors are not remembered.
func (m *Memo[T]) Get(ctx context.Context, key string, fetch func(context.Context) (T, time.Duration, error)) (T, error) {
	if k, ok := m.cache.Get(key); ok && time.Now().Before(k.until) {
		return k.value, nil
	}
	var none T
	done := m.flight.DoChan(key, func() (any, error) {
		// The callers that share the fetch must not fail because the first one
		// went away.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.timeout)
		defer cancel()
		begun := time.Now()
		value, lifetime, err := fetch(ctx)
		if err != nil {
			return nil, err
		}
		k := &kept[T]{value, begun.Add(lifetime)}
		m.cache.Put(key, k)
		return k, nil
	})
	select {
	case <-ctx.Done():
		return none, fmt.Errorf("wait for another: %w", ctx.Err())
	case got := <-done:
		if k, ok := got.Val.(*kept[T]); ok {
			return k.value, nil
		}
		return none, got.Err
	}
}
