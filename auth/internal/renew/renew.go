// Package renew keeps something that expires fresh: a token, a key set. One
// loop fetches it, early and with jitter, one fetch at a time however many ask.
package renew

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/rpcerr"
)

// Config says what is kept.
type Config[T any] struct {
	Name string // for the log: "own token"
	// Fetch returns a new value and for how long it is good.
	Fetch   func(ctx context.Context) (T, time.Duration, error)
	Timeout time.Duration // of a fetch, and of what Get waits. Default 3 s
	// Every bounds the time between fetches of what is good for much longer.
	Every time.Duration
	Retry time.Duration // longest wait after a failure. Default 10 s
	// Again bounds how often Renew may have it fetched. Default 5 s.
	Again  time.Duration
	Logger *slog.Logger
}

// Renewer holds the value. All its methods are safe for concurrent use; Loop
// runs once.
type Renewer[T any] struct {
	config Config[T]
	state  atomic.Pointer[state[T]]
	wanted chan struct{}
}

// state is immutable.
type state[T any] struct {
	value   T
	until   time.Time // by the monotonic clock; zero: there is no value
	err     error     // of the last fetch
	pending chan struct{}
}

// New returns a Renewer that has nothing until Loop runs.
func New[T any](c Config[T]) *Renewer[T] {
	if c.Timeout <= 0 {
		c.Timeout = 3 * time.Second
	}
	if c.Retry <= 0 {
		c.Retry = 10 * time.Second
	}
	if c.Again <= 0 {
		c.Again = 5 * time.Second
	}
	r := &Renewer[T]{config: c, wanted: make(chan struct{}, 1)}
	r.state.Store(&state[T]{err: fmt.Errorf("%s: not started: %w", c.Name, rpcerr.ErrUnavailable)})
	return r
}

// Open says that Loop is about to run: from now on Get waits for the first
// fetch. Only the first call does anything.
func (r *Renewer[T]) Open() {
	old := r.state.Load()
	if old.pending == nil && old.until.IsZero() {
		err := fmt.Errorf("%s: no answer yet: %w", r.config.Name, rpcerr.ErrUnavailable)
		r.state.CompareAndSwap(old, &state[T]{err: err, pending: make(chan struct{})})
	}
}

// Get returns the value. While there is none it waits for the fetch under way,
// at most the timeout, and returns its error; between fetches it returns the
// error of the last one at once, or ErrUnavailable when that went well and what
// it brought has expired.
func (r *Renewer[T]) Get() (T, error) { return r.Await(context.Background()) }

// Await is Get, but waits no longer than until ctx ends.
func (r *Renewer[T]) Await(ctx context.Context) (T, error) {
	s := r.state.Load()
	if s.good() {
		return s.value, nil
	}
	if s.pending != nil && ctx.Err() == nil {
		timer := time.NewTimer(r.config.Timeout)
		defer timer.Stop()
		select {
		case <-s.pending:
			s = r.state.Load()
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	if s.good() {
		return s.value, nil
	}
	var none T
	if s.err == nil {
		return none, fmt.Errorf("%s: expired: %w", r.config.Name, rpcerr.ErrUnavailable)
	}
	return none, s.err
}

// Peek returns the value if there is one now.
func (r *Renewer[T]) Peek() (T, bool) {
	s := r.state.Load()
	return s.value, s.good()
}

// Err returns the error of the last fetch, nil while it went well.
func (r *Renewer[T]) Err() error { return r.state.Load().err }

func (s *state[T]) good() bool { return !s.until.IsZero() && time.Now().Before(s.until) }

// Renew asks for a new value because the one at hand was found to be no good.
// It never waits.
func (r *Renewer[T]) Renew() {
	select {
	case r.wanted <- struct{}{}:
	default:
	}
}

// Loop keeps the value fresh until ctx ends.
func (r *Renewer[T]) Loop(ctx context.Context) {
	wait := backoff.Backoff{Max: r.config.Retry}
	failing := false
	for {
		lifetime, err := r.fetch(ctx)
		if ctx.Err() != nil {
			break
		}
		if failing != (err != nil) {
			failing = err != nil
			r.tell(err)
		}
		next := early(lifetime)
		if c := r.config.Every; c > 0 {
			next = min(next, early(c))
		}
		if err != nil {
			next = wait.Next()
		} else {
			wait.Reset()
		}
		if !r.sleep(ctx, next, min(next, r.config.Again)) {
			break
		}
	}
	r.end()
}

// early is when to fetch again what is good for a lifetime: 70 to 85 % of it.
func early(lifetime time.Duration) time.Duration {
	return lifetime/100*70 + rand.N(lifetime/100*15+1)
}

// sleep waits for long, or for Renew but not less than short.
func (r *Renewer[T]) sleep(ctx context.Context, long, short time.Duration) bool {
	begun := time.Now()
	timer := time.NewTimer(long)
	defer timer.Stop()
	wanted := r.wanted
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-wanted:
			wanted = nil
			timer.Reset(max(short-time.Since(begun), 0))
		}
	}
}

func (r *Renewer[T]) fetch(ctx context.Context) (time.Duration, error) {
	old := r.state.Load()
	if old.pending == nil {
		begun := *old
		begun.pending = make(chan struct{})
		old = &begun
		r.state.Store(old)
	}
	defer close(old.pending)
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	begun := time.Now() // what it takes to arrive is part of the lifetime
	value, lifetime, err := r.config.Fetch(ctx)
	if err != nil {
		r.state.Store(&state[T]{value: old.value, until: old.until, err: err})
		return 0, err
	}
	r.state.Store(&state[T]{value: value, until: begun.Add(lifetime)})
	return lifetime, nil
}

func (r *Renewer[T]) end() {
	old := r.state.Swap(&state[T]{err: fmt.Errorf("%s: %w", r.config.Name, lifecycle.ErrStopped)})
	if old.pending != nil {
		select {
		case <-old.pending:
		default:
			close(old.pending)
		}
	}
}

func (r *Renewer[T]) tell(err error) {
	if err != nil {
		r.config.Logger.Warn("cannot renew "+r.config.Name+", will retry", "error", err)
		return
	}
	r.config.Logger.Info("renewed " + r.config.Name)
}
