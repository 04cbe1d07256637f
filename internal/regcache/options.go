package regcache

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/micro/go-platform/internal/rpcerr"
)

// DefaultConfirm is the default of Confirm.
const DefaultConfirm = 90 * time.Second

const (
	resyncEvery = 30 * time.Second       // how often every service held is fetched again, give or take a fifth
	pollEvery   = 500 * time.Millisecond // how often services are fetched while the registry cannot be watched
	beatEvery   = 30 * time.Second       // how often nodes renew their registrations
)

// Option changes a Cache that is being made.
type Option func(*options)

type options struct {
	resync, confirm, poll, beat time.Duration
	file                        string
	before                      func() error
	tells                       bool
	logger                      *slog.Logger
}

// Confirm sets how long answers must lack a node that has no tombstone before
// the node is dropped, at least 10 ms. The default is 90 s: three intervals of
// a registration, so that a registry that lost its memory hears of everybody
// meanwhile.
func Confirm(d time.Duration) Option { return func(o *options) { o.confirm = d } }

// Beat sets how often nodes renew their registrations, at least 10 ms. The
// default is 30 s. What many nodes miss together is not believed for a number
// of these intervals.
func Beat(d time.Duration) Option { return func(o *options) { o.beat = d } }

// File keeps a copy of the records in a file of mode 0600, replaced at most
// once a second, from which Start boots while the registry is dead.
func File(path string) Option { return func(o *options) { o.file = path } }

// Tells says that the first watcher of the registry begins with the tombstones of
// what left of late: answers that lack a node need no belief then.
func Tells() Option { return func(o *options) { o.tells = true } }

// Before sets a function that reads call while the cache does not run: it may
// start the cache. When it fails, what is held is read all the same; other
// reads return its error.
func Before(f func() error) Option { return func(o *options) { o.before = f } }

// Logger is told of trouble with the registry, slog.Default() unless given.
func Logger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

func newOptions(opts []Option) options {
	o := options{resync: resyncEvery, confirm: DefaultConfirm, poll: pollEvery, beat: beatEvery, before: func() error { return nil }}
	for _, opt := range opts {
		opt(&o)
	}
	if o.logger == nil {
		o.logger = slog.Default()
	}
	return o
}

func (o *options) validate() error {
	for name, d := range map[string]time.Duration{"Confirm": o.confirm, "Beat": o.beat} {
		if d < 10*time.Millisecond {
			return fmt.Errorf("registry cache: option %s: %w: %v is less than 10ms", name, rpcerr.ErrInvalid, d)
		}
	}
	return nil
}
