package daemon

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/clean"
)

// Waiting is something that a start waits for. The reason is logged when it
// changes, and /readyz always says it. Its methods are safe for concurrent use.
type Waiting struct {
	env   *Env
	what  string
	args  []any
	told  string
	begun time.Time
}

// Waiting returns a new Waiting. The arguments are those of its lines in the
// log.
func (e *Env) Waiting(what string, args ...any) *Waiting {
	return &Waiting{env: e, what: what, args: args, begun: time.Now()}
}

// Tell sets the reason why the wait is not over.
func (w *Waiting) Tell(why error) {
	w.env.state.begin(w.what, why)
	why = clean.URLError(why)
	if text := fmt.Sprint(why); text != w.told {
		w.told = text
		w.env.Logger.Info("waiting for "+w.what, append(w.args, "error", why)...)
	}
}

// Over ends the wait, and logs that if the wait was logged.
func (w *Waiting) Over() {
	w.env.state.begin("", nil)
	if w.told != "" {
		w.env.Logger.Info("waited for "+w.what, "for", time.Since(w.begun).Round(time.Millisecond))
	}
}

// Await calls try until it succeeds, limit is over, ctx ends, or passes returns
// false for its error. It returns the last error.
func (e *Env) Await(ctx context.Context, what string, limit time.Duration, passes func(error) bool, try func(context.Context) error) error {
	until, w := time.Now().Add(limit), e.Waiting(what)
	wait := backoff.Backoff{Max: time.Second}
	for {
		err := try(ctx)
		if err == nil {
			w.Over()
			return nil
		}
		if !passes(err) || !time.Now().Before(until) {
			return err
		}
		w.Tell(err)
		if wait.Wait(ctx) != nil {
			return fmt.Errorf("waiting for %s: %w: %w", what, ctx.Err(), err)
		}
	}
}

// state is what /readyz says of a start: how far it is.
type state struct {
	mu      sync.Mutex
	checks  []check
	waits   string // for what the start waits
	why     error
	started bool
}

func (s *state) begin(what string, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits, s.why = what, why
}

func (s *state) add(c check) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks = append(s.checks, c)
}

func (s *state) serving() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
}

// get returns the checks, or why there is nothing to check yet.
func (s *state) get() ([]check, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.started:
		return s.checks, nil
	case s.waits == "":
		return nil, fmt.Errorf("starting")
	}
	return nil, fmt.Errorf("starting: waiting for %s: %w", s.waits, s.why)
}
