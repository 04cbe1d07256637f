package log

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// Policy is what a Buffer does with an event for which it has no room.
type Policy int

const (
	// DropPolicy drops the event. The caller never waits.
	DropPolicy Policy = iota
	// BlockPolicy makes the caller wait for room: nothing is lost while the
	// program runs, and a dead far end stops it once the buffer is full.
	BlockPolicy
	// SamplePolicy keeps one of OutputSample events below ErrorLevel as soon as
	// half of the buffer is used, so that a few of every kind and nearly all
	// errors get through; without room it drops.
	SamplePolicy
)

// OutputOptions are what the outputs of this project have in common, and what
// the file needs. Context carries the options of the plugins.
type OutputOptions struct {
	Name     string        // file, address or topic
	Policy   Policy        // without room, default DropPolicy
	Sample   int           // of SamplePolicy, default 10
	Capacity int           // events held, default 8192
	Bytes    int           // bytes of encoded events held, default 16 MiB
	Interval time.Duration // longest an event waits for company, default 200 ms
	Timeout  time.Duration // bound of one write to the far end, default 5 s
	Logger   *slog.Logger  // for loss and recovery, standard error unless given
	Context  context.Context

	Size     int64         // bytes of a file before it is rotated, default 100 MiB
	Age      time.Duration // age of a file before it is rotated, 0: any
	Backups  int           // rotated files kept, default 10
	Compress bool          // rotated files are gzipped, default true
	Reopen   []os.Signal   // signals that reopen the file, default SIGHUP
}

// OutputOption changes the options of an output.
type OutputOption func(*OutputOptions)

// OutputName sets where the events go: the path of a file, an address, a topic.
func OutputName(name string) OutputOption { return func(o *OutputOptions) { o.Name = name } }

// OutputPolicy sets what happens to an event for which there is no room.
func OutputPolicy(p Policy) OutputOption { return func(o *OutputOptions) { o.Policy = p } }

// OutputSample chooses SamplePolicy, keeping one of n events.
func OutputSample(n int) OutputOption {
	return func(o *OutputOptions) { o.Policy, o.Sample = SamplePolicy, n }
}

// OutputCapacity bounds the events that wait, and their bytes.
func OutputCapacity(events, bytes int) OutputOption {
	return func(o *OutputOptions) { o.Capacity, o.Bytes = events, bytes }
}

// OutputInterval sets how long an event may wait for company.
func OutputInterval(d time.Duration) OutputOption {
	return func(o *OutputOptions) { o.Interval = d }
}

// OutputTimeout bounds one write to the far end.
func OutputTimeout(d time.Duration) OutputOption {
	return func(o *OutputOptions) { o.Timeout = d }
}

// OutputLogger sets where loss and recovery are told. It must not lead back into
// the output.
func OutputLogger(l *slog.Logger) OutputOption { return func(o *OutputOptions) { o.Logger = l } }

// OutputRotate rotates the file before it grows above size bytes, or once its
// first event is older than age; zero switches one of them off.
func OutputRotate(size int64, age time.Duration) OutputOption {
	return func(o *OutputOptions) { o.Size, o.Age = size, age }
}

// OutputBackups keeps the newest n rotated files, gzipped or not; 0 keeps all.
func OutputBackups(n int, compress bool) OutputOption {
	return func(o *OutputOptions) { o.Backups, o.Compress = n, compress }
}

// OutputReopen sets the signals on which a started file output opens its file
// anew, for a program that moves it away. Without signals it listens to none:
// SIGHUP then ends the program, as it does by default.
func OutputReopen(signals ...os.Signal) OutputOption {
	return func(o *OutputOptions) { o.Reopen = signals }
}

// check returns what is wrong, and puts defaults where it is, so that an output
// with a bad option still works.
func (o *OutputOptions) check() error {
	var errs []error
	good := NewOutputOptions()
	bad := func(wrong bool, option string, value any, repair func()) {
		if wrong {
			errs = append(errs, fmt.Errorf("%w: option %s: %v is out of range", ErrInvalid, option, value))
			repair()
		}
	}
	bad(o.Policy < DropPolicy || o.Policy > SamplePolicy, "OutputPolicy", int(o.Policy), func() { o.Policy = good.Policy })
	bad(o.Sample < 1, "OutputSample", o.Sample, func() { o.Sample = good.Sample })
	bad(o.Capacity < 1, "OutputCapacity", o.Capacity, func() { o.Capacity = good.Capacity })
	bad(o.Bytes < 1, "OutputCapacity", o.Bytes, func() { o.Bytes = good.Bytes })
	bad(o.Interval <= 0, "OutputInterval", o.Interval, func() { o.Interval = good.Interval })
	bad(o.Timeout <= 0, "OutputTimeout", o.Timeout, func() { o.Timeout = good.Timeout })
	bad(o.Logger == nil, "OutputLogger", o.Logger, func() { o.Logger = good.Logger })
	bad(o.Context == nil, "Context", o.Context, func() { o.Context = good.Context })
	bad(o.Size < 0, "OutputRotate", o.Size, func() { o.Size = good.Size })
	bad(o.Age < 0, "OutputRotate", o.Age, func() { o.Age = good.Age })
	bad(o.Backups < 0, "OutputBackups", o.Backups, func() { o.Backups = good.Backups })
	return errors.Join(errs...)
}
