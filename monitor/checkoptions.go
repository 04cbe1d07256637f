package monitor

import (
	"fmt"
	"time"

	"github.com/micro/go-platform/internal/option"
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

// CheckOptions are the options of a check. Make them with NewCheckOptions.
type CheckOptions struct {
	Kind      Kind
	Critical  bool
	Every     time.Duration
	Within    time.Duration
	FailAfter int
	PassAfter int
}

// CheckOption sets one of the CheckOptions.
type CheckOption func(*CheckOptions)

// OfKind sets what a failure means. The default is Ready.
func OfKind(k Kind) CheckOption { return func(o *CheckOptions) { o.Kind = k } }

// Critical sets whether a failure has consequences (see Kind) or is only
// reported. The default is true.
func Critical(yes bool) CheckOption { return func(o *CheckOptions) { o.Critical = yes } }

// Every sets how often the check runs, give or take a tenth, from 100 ms to one
// hour. The default is the monitor's interval.
func Every(d time.Duration) CheckOption { return func(o *CheckOptions) { o.Every = d } }

// Within sets the deadline of a run, from 1 ms to one minute. The default is 10 s,
// or the check's interval when that is shorter.
func Within(d time.Duration) CheckOption { return func(o *CheckOptions) { o.Within = d } }

// FailAfter sets how many runs in a row must fail before the check is in error,
// from 1 to 100. The default is 1.
func FailAfter(n int) CheckOption { return func(o *CheckOptions) { o.FailAfter = n } }

// PassAfter sets how many runs in a row must pass before a check that was in
// error is well again, from 1 to 100. The default is 1.
func PassAfter(n int) CheckOption { return func(o *CheckOptions) { o.PassAfter = n } }

// NewCheckOptions returns the options of a check in a monitor with the
// interval: the defaults with opts applied.
func NewCheckOptions(interval time.Duration, opts ...CheckOption) CheckOptions {
	o := CheckOptions{Critical: true, FailAfter: 1, PassAfter: 1}
	option.Apply(&o, opts)
	if o.Every == 0 {
		o.Every = interval
	}
	if o.Within == 0 {
		o.Within = min(DefaultDeadline, max(o.Every, MinInterval))
	}
	return o
}

// maxStreak bounds FailAfter and PassAfter.
const maxStreak = 100

// Validate returns an ErrInvalid that names every option with a bad value.
func (o CheckOptions) Validate() error {
	c := option.Of("monitor")
	c.That(o.Kind == Ready || o.Kind == Live || o.Kind == Startup, "OfKind", "%v is not Ready, Live or Startup", o.Kind)
	option.Within(c, "Every", o.Every, MinInterval, MaxInterval)
	option.Within(c, "Within", o.Within, time.Millisecond, time.Minute)
	option.Within(c, "FailAfter", o.FailAfter, 1, maxStreak)
	option.Within(c, "PassAfter", o.PassAfter, 1, maxStreak)
	return c.Err()
}
