package renew

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/rpcerr"
)

// KeyedConfig says what a Keyed keeps.
type KeyedConfig[T any] struct {
	Name string // for errors: "token for"
	// Fetch returns a new value of a key and for how long it is good.
	Fetch   func(ctx context.Context, key string) (T, time.Duration, error)
	Timeout time.Duration // of a fetch, and of what Get waits. Default 3 s
	// Again bounds how often Renew may have a key fetched. Default 5 s.
	Again time.Duration
	// Max bounds the keys. Default 1024.
	Max int
	// Logger hears when values that are still good cannot be renewed, of which
	// Get says nothing, and when they can again. Default slog.Default().
	Logger *slog.Logger
}

// Keyed is a Renewer for values of many keys, which are fetched when they are
// first asked for and kept fresh for as long as they are used. All its methods
// are safe for concurrent use; Loop runs once.
type Keyed[T any] struct {
	config  KeyedConfig[T]
	entries atomic.Pointer[map[string]*entry[T]] // replaced as a whole
	wake    chan struct{}

	mu      sync.Mutex
	life    context.Context // nil before Open
	over    bool
	fetches sync.WaitGroup
	aging   map[string]struct{} // the keys whose good values cannot be renewed
}

type entry[T any] struct {
	state atomic.Pointer[state[T]]
	used  atomic.Bool // since the last fetch

	// Below are what the lock of Keyed guards.
	wait  backoff.Backoff
	asked time.Time // when Get last had no value
	begun time.Time // of the last fetch
	due   time.Time // when to fetch again
}

// NewKeyed returns a Keyed without values.
func NewKeyed[T any](c KeyedConfig[T]) *Keyed[T] {
	if c.Timeout <= 0 {
		c.Timeout = 3 * time.Second
	}
	if c.Again <= 0 {
		c.Again = 5 * time.Second
	}
	if c.Max <= 0 {
		c.Max = 1024
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	k := &Keyed[T]{config: c, wake: make(chan struct{}, 1), aging: map[string]struct{}{}}
	k.entries.Store(&map[string]*entry[T]{})
	return k
}

// Open lets Get fetch, until ctx ends.
func (k *Keyed[T]) Open(ctx context.Context) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.life = ctx
}

// Get returns the value of a key. While there is none it waits for the fetch
// under way, at most the timeout, and returns its error; after a fetch that
// failed it returns that error at once until the next one, which Loop makes.
func (k *Keyed[T]) Get(key string) (T, error) {
	if e := (*k.entries.Load())[key]; e != nil {
		if s := e.state.Load(); s.good() {
			if !e.used.Load() {
				e.used.Store(true)
			}
			return s.value, nil
		}
	}
	return k.wanted(key)
}

func (k *Keyed[T]) wanted(key string) (T, error) {
	var none T
	e, err := k.begin(key)
	if err != nil {
		return none, err
	}
	s := e.state.Load()
	if s.pending != nil {
		timer := time.NewTimer(k.config.Timeout)
		defer timer.Stop()
		select {
		case <-s.pending:
			s = e.state.Load()
		case <-timer.C:
		}
	}
	if s.good() {
		return s.value, nil
	}
	if s.err == nil {
		return none, fmt.Errorf("%s %.256q: no answer in time: %w", k.config.Name, key, rpcerr.ErrUnavailable)
	}
	return none, s.err
}

// begin returns the entry of a key, being fetched if it is new or has expired.
func (k *Keyed[T]) begin(key string) (*entry[T], error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.over:
		return nil, fmt.Errorf("%s %.256q: %w", k.config.Name, key, lifecycle.ErrStopped)
	case k.life == nil:
		return nil, fmt.Errorf("%s %.256q: not started: %w", k.config.Name, key, rpcerr.ErrUnavailable)
	}
	e := (*k.entries.Load())[key]
	if e == nil {
		if err := k.room(); err != nil {
			return nil, err
		}
		e = &entry[T]{wait: backoff.Backoff{Max: 10 * time.Second}}
		e.state.Store(&state[T]{})
		grown := maps.Clone(*k.entries.Load())
		grown[key] = e
		k.entries.Store(&grown)
	}
	e.used.Store(true)
	e.asked = time.Now()
	// After a failure the loop decides when to try again.
	if s := e.state.Load(); s.pending == nil && !s.good() && s.err == nil {
		k.fetch(key, e)
	}
	return e, nil
}

// room makes room for one more key.
func (k *Keyed[T]) room() error {
	if len(*k.entries.Load()) < k.config.Max {
		return nil
	}
	k.drop(func(e *entry[T]) bool { return !e.used.Load() || !e.state.Load().good() })
	if len(*k.entries.Load()) >= k.config.Max {
		return fmt.Errorf("%s: %w: %d are in use", k.config.Name, rpcerr.ErrLimited, k.config.Max)
	}
	return nil
}

func (k *Keyed[T]) drop(which func(*entry[T]) bool) {
	all := *k.entries.Load()
	kept := maps.Clone(all)
	maps.DeleteFunc(kept, func(key string, e *entry[T]) bool {
		gone := e.state.Load().pending == nil && which(e)
		if gone {
			delete(k.aging, key)
		}
		return gone
	})
	if len(kept) < len(all) {
		k.entries.Store(&kept)
	}
}

// fetch begins a fetch; the lock is held.
func (k *Keyed[T]) fetch(key string, e *entry[T]) {
	old := e.state.Load()
	begun := &state[T]{value: old.value, until: old.until, err: old.err, pending: make(chan struct{})}
	e.state.Store(begun)
	e.begun = time.Now()
	e.used.Store(false)
	life := k.life
	k.fetches.Go(func() {
		defer close(begun.pending)
		ctx, cancel := context.WithTimeout(life, k.config.Timeout)
		defer cancel()
		value, lifetime, err := k.config.Fetch(ctx, key)
		k.mu.Lock()
		defer k.mu.Unlock()
		if err != nil {
			e.state.Store(&state[T]{value: old.value, until: old.until, err: err})
			e.due = time.Now().Add(e.wait.Next())
		} else {
			e.state.Store(&state[T]{value: value, until: e.begun.Add(lifetime)})
			e.wait.Reset()
			e.due = e.begun.Add(early(lifetime))
		}
		if life.Err() == nil {
			k.tell(key, old.good(), err)
		}
		k.poke()
	})
}

// tell logs the first failure to renew a good value, and the end of such
// failures: when the origin is away all keys fail alike. The lock is held.
func (k *Keyed[T]) tell(key string, good bool, err error) {
	before := len(k.aging)
	if err != nil && good {
		k.aging[key] = struct{}{}
	} else {
		delete(k.aging, key)
	}
	switch after := len(k.aging); {
	case before == 0 && after > 0:
		k.config.Logger.Warn("cannot renew "+k.config.Name+" a key, will retry", "key", key, "error", err)
	case before > 0 && after == 0 && err == nil:
		k.config.Logger.Info("renewed "+k.config.Name+" all keys", "key", key)
	}
}

func (k *Keyed[T]) poke() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Renew asks for a new value of a key because the one at hand was found to be
// no good. It never waits.
func (k *Keyed[T]) Renew(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := (*k.entries.Load())[key]; e != nil {
		if soon := e.begun.Add(k.config.Again); soon.Before(e.due) {
			e.due = soon
			e.used.Store(true)
			k.poke()
		}
	}
}

// RenewIf is Renew for each key whose value is bad.
func (k *Keyed[T]) RenewIf(bad func(T) bool) {
	for key, e := range *k.entries.Load() {
		if s := e.state.Load(); s.good() && bad(s.value) {
			k.Renew(key)
		}
	}
}

// Loop keeps what is used fresh and forgets what is not, until ctx ends.
func (k *Keyed[T]) Loop(ctx context.Context) {
	for {
		timer := time.NewTimer(k.turn())
		select {
		case <-ctx.Done():
			timer.Stop()
			k.end()
			return
		case <-timer.C:
		case <-k.wake:
			timer.Stop()
		}
	}
}

// patience is how long after it was last asked for a value that could not be
// had is tried again.
const patience = time.Minute

// wanted reports whether somebody used the value, or could not have it, lately.
func (e *entry[T]) wanted(now time.Time) bool {
	return e.used.Load() || e.state.Load().err != nil && now.Sub(e.asked) < patience
}

// turn fetches what is due and returns the time until something else is.
func (k *Keyed[T]) turn() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	now, next := time.Now(), time.Minute
	k.drop(func(e *entry[T]) bool { return !e.wanted(now) && !e.due.After(now) && !e.state.Load().good() })
	for key, e := range *k.entries.Load() {
		s := e.state.Load()
		switch {
		case s.pending != nil:
		case e.due.After(now):
			next = min(next, e.due.Sub(now))
		case e.wanted(now):
			k.fetch(key, e)
		default: // until it expires, or somebody uses it
			next = min(next, time.Until(s.until), time.Second)
		}
	}
	return max(next, time.Millisecond)
}

func (k *Keyed[T]) end() {
	k.mu.Lock()
	k.over = true
	k.mu.Unlock()
	k.fetches.Wait()
	k.entries.Store(&map[string]*entry[T]{})
}
