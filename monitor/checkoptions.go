package monitor

import (
	"fmt"
	"time"
)

// Kind is what a failing check means.
type Kind int32

// The kinds of checks; Ready is the default.
const (
	// Ready: while it fails the node should get no calls.
	Ready Kind = 0
	// Live: while it fails the process should be restarted.
	Live Kind = 1
	// Startup: the node is not ready before it passed once; then it ends.
	Startup Kind = 2
)

// String returns "ready", "live" or "startup".
func (k Kind) String() string {
	switch k {
	case Ready:
		return "ready"
	case Live:
		return "live"
	case Startup:
		return "startup"
	}
	return fmt.Sprintf("kind %d", int32(k))
}

// CheckOption changes a check that is being made.
type CheckOption func(*checkOptions)

type checkOptions struct {
	kind      Kind
	critical  bool
	every     time.Duration // 0: the monitor's interval
	deadline  time.Duration // 0: the default
	failAfter int
	passAfter int
}

// OfKind says what a failure means. Default Ready.
func OfKind(k Kind) CheckOption { return func(o *checkOptions) { o.kind = k } }

// Critical says whether a failure has consequences (see Kind) or is only
// reported. Default true.
func Critical(yes bool) CheckOption { return func(o *checkOptions) { o.critical = yes } }

// Every is how often the check runs, give or take a tenth, from 100 ms to one
// hour. Default: the monitor's interval.
func Every(d time.Duration) CheckOption { return func(o *checkOptions) { o.every = d } }

// Within is the deadline of a run, from 1 ms to one minute. Default 10 s, or
// the check's interval when that is shorter.
func Within(d time.Duration) CheckOption { return func(o *checkOptions) { o.deadline = d } }

// FailAfter is how many runs in a row must fail before the check is in error, 1
// to 100. Default 1.
func FailAfter(n int) CheckOption { return func(o *checkOptions) { o.failAfter = n } }

// PassAfter is how many runs in a row must pass before a check that was in
// error is well again, 1 to 100. Default 1.
func PassAfter(n int) CheckOption { return func(o *checkOptions) { o.passAfter = n } }

// newCheckOptions fills the defaults in; interval is the monitor's.
func newCheckOptions(interval time.Duration, opts []CheckOption) checkOptions {
	o := checkOptions{critical: true, failAfter: 1, passAfter: 1}
	for _, opt := range opts {
		opt(&o)
	}
	if o.every == 0 {
		o.every = interval
	}
	if o.deadline == 0 {
		o.deadline = min(DefaultDeadline, max(o.every, MinInterval))
	}
	return o
}

func (o *checkOptions) validate() error {
	switch {
	case o.kind != Ready && o.kind != Live && o.kind != Startup:
		return fmt.Errorf("option OfKind: %w: %v", ErrInvalid, o.kind)
	case o.every < MinInterval || o.every > MaxInterval:
		return fmt.Errorf("option Every: %w: %v is not within %v and %v", ErrInvalid, o.every, MinInterval, MaxInterval)
	case o.deadline < time.Millisecond || o.deadline > time.Minute:
		return fmt.Errorf("option Within: %w: %v is not within 1ms and 1m", ErrInvalid, o.deadline)
	case o.failAfter < 1 || o.failAfter > 100:
		return fmt.Errorf("option FailAfter: %w: %d is not within 1 and 100", ErrInvalid, o.failAfter)
	case o.passAfter < 1 || o.passAfter > 100:
		return fmt.Errorf("option PassAfter: %w: %d is not within 1 and 100", ErrInvalid, o.passAfter)
	}
	return nil
}
