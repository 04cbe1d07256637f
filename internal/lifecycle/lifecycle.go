// Package lifecycle gives a plugin or a service its Start and Stop. Use it
// wherever something owns background goroutines: it is the only place that
// decides what a second Start, a Stop without Start, or a hanging loop means.
package lifecycle

import (
	"context"
	"errors"
	"sync"
	"time"
)

// FlushTimeout bounds what a Stop may spend on flushing.
const FlushTimeout = 2 * time.Second

var (
	// ErrStopped is returned by a Start after Stop, and by plugins that are
	// used after Stop.
	ErrStopped = errors.New("stopped")
	// ErrStopTimeout is returned by Stop when a loop did not end in time.
	ErrStopTimeout = errors.New("background work did not end in time")
	// ErrNoAnswer is the cause of a context of Bound whose time is over.
	ErrNoAnswer = errors.New("no answer in time")
)

// Group runs the background loops of one plugin. The zero value is ready.
type Group struct {
	mu      sync.Mutex
	started bool
	stopped bool
	cancel  context.CancelFunc
	wg      sync.WaitGroup
}

// Start runs every loop in a goroutine of its own until Stop cancels its
// context. Only the first Start does anything; one after Stop returns
// ErrStopped.
func (g *Group) Start(loops ...func(context.Context)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return ErrStopped
	}
	if g.started {
		return nil
	}
	g.started = true
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	for _, loop := range loops {
		g.wg.Go(func() { loop(ctx) })
	}
	return nil
}

// Running reports whether Start was called and Stop was not.
func (g *Group) Running() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.started && !g.stopped
}

// Stop cancels the loops and waits at most bound for them, then returns
// ErrStopTimeout. It is idempotent, and it may come before Start.
func (g *Group) Stop(bound time.Duration) error {
	g.mu.Lock()
	g.stopped = true
	if g.cancel != nil {
		g.cancel()
	}
	g.mu.Unlock()

	done := make(chan struct{})
	go func() {
		g.wg.Wait()
		close(done)
	}()
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return ErrStopTimeout
	}
}

// Every calls do each time d has passed, until ctx ends. Calls do not overlap;
// those that one was too slow for are left out.
func Every(ctx context.Context, d time.Duration, do func()) {
	ticker := time.NewTicker(d)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			do()
		}
	}
}

// Bound is context.WithTimeout for one call to a server: its cause tells a
// server that did not answer from a caller that did not wait.
func Bound(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, ErrNoAnswer)
}

// Sleep returns true after d, or false as soon as ctx ends.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
