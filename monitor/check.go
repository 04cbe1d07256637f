package monitor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/micro/go-platform/internal/clean"
)

// check is one health check with its deadline and thresholds around it.
type check struct {
	id, desc string
	fn       HealthCheck
	opts     CheckOptions
	changed  func() // called after the status changed, without a lock

	mu      sync.Mutex
	running *run // nil while none is
	status  CheckStatus
	results map[string]string // of the last run, never written to
	err     error
	at      time.Time // of the last result, zero before it
	streak  int       // results in a row that speak against the status
}

// run is one execution of a check's function.
type run struct {
	begun time.Time
	done  chan struct{} // closed when the function returned
	late  bool          // the deadline passed: what it returns is void
}

func (c *check) Id() string          { return c.id }
func (c *check) Description() string { return c.desc }

// Run implements HealthChecker.
func (c *check) Run() (map[string]string, error) {
	if c.fn == nil {
		return nil, fmt.Errorf("monitor: run check %s: %w: no function", c.id, ErrInvalid)
	}
	c.attempt(context.Background())
	return c.Status()
}

// Status implements HealthChecker.
func (c *check) Status() (map[string]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() {
		return nil, fmt.Errorf("monitor: check %s has not run: %w", c.id, ErrNotAvailable)
	}
	return maps.Clone(c.results), c.err
}

// state returns the check as it is reported.
func (c *check) state() CheckState {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := CheckState{
		Id: c.id, Description: c.desc, Kind: c.opts.Kind, Critical: c.opts.Critical,
		Status: c.status, Results: maps.Clone(c.results), Time: c.at, Every: c.opts.Every,
	}
	s.Error = clean.Error(c.err, maxText)
	return s
}

// attempt runs the check, or joins the run under way, and returns when there is
// a result, its deadline passed or ctx ended.
func (c *check) attempt(ctx context.Context) {
	r := c.begin()
	timer := time.NewTimer(c.opts.Within - time.Since(r.begun))
	defer timer.Stop()
	select {
	case <-r.done:
	case <-timer.C:
		c.overdue(r)
	case <-ctx.Done():
	}
}

func (c *check) begin() *run {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil {
		c.running = &run{begun: time.Now(), done: make(chan struct{})}
		go c.execute(c.running)
	}
	return c.running
}

// execute is the only goroutine that calls the function.
func (c *check) execute(r *run) {
	results, err := map[string]string(nil), errors.New("ended its goroutine")
	defer func() {
		if p := recover(); p != nil {
			results, err = nil, fmt.Errorf("panicked: %s", clean.Value(p, maxText))
		}
		c.finish(r, results, err)
	}()
	results, err = c.fn()
	err = readable(err)
}

// readable returns err, or one with a text in the place of an error whose Error
// panics, such as a nil pointer: it is read in many places.
func readable(err error) (safe error) {
	if err == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			safe = errors.New(clean.Error(err, maxText))
		}
	}()
	_ = err.Error() // it panics or it does not
	return err
}

// maxText bounds the texts of checks, in bytes.
const maxText = 1 << 10

func (c *check) finish(r *run, results map[string]string, err error) {
	results = clean.Map(results)
	c.mu.Lock()
	c.running = nil
	changed := !r.late && c.record(results, err)
	c.mu.Unlock()
	if changed {
		c.changed()
	}
	close(r.done)
}

// overdue records that the run has not ended in time: once, and again for each
// later attempt that finds it still there.
func (c *check) overdue(r *run) {
	c.mu.Lock()
	changed := false
	if c.running == r && (!r.late || time.Since(c.at) >= c.opts.Every/2) {
		r.late = true
		changed = c.record(nil, fmt.Errorf("monitor: check %s: %w of %v", c.id, ErrTimeout, c.opts.Within))
	}
	c.mu.Unlock()
	if changed {
		c.changed()
	}
}

// record takes a result and reports whether the status changed. The caller holds
// the mutex.
func (c *check) record(results map[string]string, err error) (changed bool) {
	c.results, c.err, c.at = results, err, time.Now()
	to, threshold := CheckOK, c.opts.PassAfter
	if err != nil {
		to, threshold = CheckError, c.opts.FailAfter
	}
	if c.status == to {
		c.streak = 0
		return false
	}
	if to == CheckOK && c.status == CheckUnknown {
		threshold = 1 // nothing to recover from
	}
	if c.streak++; c.streak < threshold {
		return false
	}
	c.status, c.streak = to, 0
	return true
}

// underway returns a channel that is closed when the present run ends, nil when
// there is none.
func (c *check) underway() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil {
		return nil
	}
	return c.running.done
}
