package monitor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/micro/go-platform/internal/clean"
)

// checker is the Checker of every monitor: a set of checks and one loop that
// begins each when it is due.
type checker struct {
	interval time.Duration
	changed  func() // a check changed its status, or came or went
	wake     chan struct{}
	life     context.Context // it ends with Stop

	mu      sync.Mutex
	entries map[string]*entry
	waiting sync.WaitGroup // attempts that the loop began
}

// entry is a registered check. All but due belongs to the checker's mutex.
type entry struct {
	given HealthChecker // what the user registered
	check *check
	next  time.Time
	busy  bool // an attempt waits for its result
}

func newChecker(life context.Context, interval time.Duration, changed func()) *checker {
	return &checker{
		life:     life,
		interval: interval,
		changed:  changed,
		wake:     make(chan struct{}, 1),
		entries:  make(map[string]*entry),
	}
}

// NewHealthChecker implements Checker.
func (c *checker) NewHealthChecker(id, desc string, fn HealthCheck, opts ...CheckOption) HealthChecker {
	return &check{id: id, desc: clean.Text(desc, 1<<10), fn: fn, opts: NewCheckOptions(c.interval, opts...), changed: c.changed}
}

// Register implements Checker.
func (c *checker) Register(h HealthChecker) error {
	own, err := c.adopt(h)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.stopped():
		return fmt.Errorf("monitor: register check %s: %w", own.id, ErrStopped)
	case c.entries[own.id] != nil:
		return fmt.Errorf("monitor: register check %s: %w", own.id, ErrAlreadyExists)
	case len(c.entries) == MaxChecks:
		return fmt.Errorf("monitor: register check %s: %w: there are %d checks, the most there may be", own.id, ErrInvalid, MaxChecks)
	}
	c.entries[own.id] = &entry{given: h, check: own}
	c.poke()
	return nil
}

// adopt returns h as a check of ours, with default options when it is not.
func (c *checker) adopt(h HealthChecker) (*check, error) {
	if h == nil {
		return nil, fmt.Errorf("monitor: register check: %w: nil", ErrInvalid)
	}
	own, ok := h.(*check)
	if !ok {
		id, description, err := describe(h)
		if err != nil {
			return nil, fmt.Errorf("monitor: register check: %w", err)
		}
		own = c.NewHealthChecker(id, description, h.Run).(*check)
	}
	if own == nil {
		return nil, fmt.Errorf("monitor: register check: %w: nil", ErrInvalid)
	}
	if !clean.Name(own.id, 128) {
		return nil, fmt.Errorf("monitor: register check: id %w: %.128q is not 1 to 128 printable characters", ErrInvalid, own.id)
	}
	if own.fn == nil {
		return nil, fmt.Errorf("monitor: register check %s: %w: no function", own.id, ErrInvalid)
	}
	if err := own.opts.Validate(); err != nil {
		return nil, err // it names the option
	}
	return own, nil
}

// describe asks a user's check for its names, under recover: it may be a nil pointer.
func describe(h HealthChecker) (id, description string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: a %T that does not tell its id: %s", ErrInvalid, h, clean.Value(p, 1<<10))
		}
	}()
	return h.Id(), h.Description(), nil
}

// Deregister implements Checker.
func (c *checker) Deregister(h HealthChecker) error {
	if h == nil {
		return fmt.Errorf("monitor: deregister check: %w: nil", ErrInvalid)
	}
	id, _, err := describe(h)
	if err != nil {
		return fmt.Errorf("monitor: deregister check: %w", err)
	}
	c.mu.Lock()
	e, stopped := c.entries[id], c.stopped()
	if e != nil && !stopped {
		delete(c.entries, id)
	}
	c.mu.Unlock()
	switch {
	case stopped:
		return fmt.Errorf("monitor: deregister check %s: %w", id, ErrStopped)
	case e == nil:
		return fmt.Errorf("monitor: deregister check %s: %w", id, ErrNotAvailable)
	}
	c.changed()
	return nil
}

// HealthChecks implements Checker.
func (c *checker) HealthChecks() ([]HealthChecker, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped() {
		return nil, fmt.Errorf("monitor: health checks: %w", ErrStopped)
	}
	all := make([]HealthChecker, 0, len(c.entries))
	for _, e := range c.entries {
		all = append(all, e.given)
	}
	slices.SortFunc(all, func(a, b HealthChecker) int { return strings.Compare(a.Id(), b.Id()) })
	return all, nil
}

// states returns every check as it is reported, ordered by id.
func (c *checker) states() []CheckState {
	checks := c.checks()
	states := make([]CheckState, len(checks))
	for i, own := range checks {
		states[i] = own.state()
	}
	slices.SortFunc(states, func(a, b CheckState) int { return strings.Compare(a.Id, b.Id) })
	return states
}

func (c *checker) checks() []*check {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*check, 0, len(c.entries))
	for _, e := range c.entries {
		all = append(all, e.check)
	}
	return all
}

// started reports whether every critical startup check has passed.
func (c *checker) started() bool {
	for _, s := range c.states() {
		if s.Kind == Startup && s.Critical && s.Status != CheckOK {
			return false
		}
	}
	return true
}

func (c *checker) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// loop begins checks when they are due until ctx ends, then waits for the
// attempts, which end with ctx too.
func (c *checker) loop(ctx context.Context) {
	defer c.waiting.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-timer.C:
		}
		timer.Reset(c.beginDue(ctx, time.Now()))
	}
}

// beginDue begins what is due and returns the wait until something will be.
func (c *checker) beginDue(ctx context.Context, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait := MaxInterval
	for _, e := range c.entries {
		if !e.next.After(now) {
			e.next = now.Add(jitter(e.check.opts.Every))
			if !e.busy && !e.passed() {
				e.busy = true
				c.waiting.Go(func() { c.attempt(ctx, e) })
			}
		}
		wait = min(wait, e.next.Sub(now))
	}
	return wait
}

// passed reports whether this is a startup check that need not run again.
func (e *entry) passed() bool {
	return e.check.opts.Kind == Startup && e.check.state().Status == CheckOK
}

func (c *checker) attempt(ctx context.Context, e *entry) {
	e.check.attempt(ctx)
	c.mu.Lock()
	e.busy = false
	c.mu.Unlock()
}

// jitter returns d give or take a tenth, so that checks of many nodes do not
// hit what they look at in step.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// stopped reports whether changes are refused.
func (c *checker) stopped() bool { return c.life.Err() != nil }

// hung waits until no check runs or ctx ends and returns the ids of those that
// still do.
func (c *checker) hung(ctx context.Context) (ids []string) {
	for _, own := range c.checks() {
		done := own.underway()
		if done == nil {
			continue
		}
		select {
		case <-done:
		case <-ctx.Done():
			ids = append(ids, own.id)
		}
	}
	slices.Sort(ids)
	return ids
}
