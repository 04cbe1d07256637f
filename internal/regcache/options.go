package regcache

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/micro/go-platform/internal/rpcerr"
)

// Defaults of the options.
const (
	DefaultResync  = 30 * time.Second
	DefaultConfirm = 90 * time.Second
	DefaultPoll    = 500 * time.Millisecond
	DefaultBeat    = 30 * time.Second
)

// Option changes a Cache that is being made.
type Option func(*options)

type options struct {
	resync, confirm, poll, beat time.Duration
	file                        string
	before                      func() error
	logger                      *slog.Logger
}

// Resync is how often every service held is fetched again, give or take a
// fifth. Default 30 s, at least 10 ms.
func Resync(d time.Duration) Option { return func(o *options) { o.resync = d } }

// Confirm is how long answers must lack a node that has no tombstone before it
// is dropped. Default 90 s: three intervals of a registration, so that a
// registry that lost its memory is told of everybody meanwhile.
func Confirm(d time.Duration) Option { return func(o *options) { o.confirm = d } }

// Poll is how often services are fetched while the registry cannot be watched.
// Default 500 ms, at least 10 ms.
func Poll(d time.Duration) Option { return func(o *options) { o.poll = d } }

// Beat sets how often nodes renew their registrations, default 30 s, at least 10
// ms: what many of them miss together is not believed for a number of these.
func Beat(d time.Duration) Option { return func(o *options) { o.beat = d } }

// File keeps a copy of the records in a file of mode 0600, replaced at most
// once a second, from which Start boots while the registry is dead.
func File(path string) Option { return func(o *options) { o.file = path } }

// Before sets what a read calls while the cache does not run: it may start the
// cache. What is held is read all the same when it fails, anything else fails
// with its error.
func Before(f func() error) Option { return func(o *options) { o.before = f } }

// Logger is told of trouble with the registry, slog.Default() unless given.
func Logger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

func newOptions(opts []Option) options {
	o := options{resync: DefaultResync, confirm: DefaultConfirm, poll: DefaultPoll, beat: DefaultBeat, before: func() error { return nil }}
	for _, opt := range opts {
		opt(&o)
	}
	if o.logger == nil {
		o.logger = slog.Default()
	}
	return o
}

func (o *options) validate() error {
	for name, d := range map[string]time.Duration{"Resync": o.resync, "Confirm": o.confirm, "Poll": o.poll, "Beat": o.beat} {
		if d < 10*time.Millisecond {
			return fmt.Errorf("registry cache: option %s: %w: %v is less than 10ms", name, rpcerr.ErrInvalid, d)
		}
	}
	return nil
}
