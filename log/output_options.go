package log

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/micro/go-platform/internal/option"
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
	Name       string        // file, address or topic
	Policy     Policy        // when the buffer is full, default DropPolicy
	Sample     int           // of SamplePolicy, default 10
	QueueSize  int           // events held, default 8192
	QueueBytes int           // bytes of encoded events held, default 16 MiB
	Interval   time.Duration // longest an event waits for a batch, default 200 ms
	Timeout    time.Duration // bound of one write to the far end, default 5 s
	Logger     *slog.Logger  // for loss and recovery, default standard error
	Context    context.Context

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

// OutputPolicy sets what happens to an event when the buffer is full; the default is
// DropPolicy.
func OutputPolicy(p Policy) OutputOption { return func(o *OutputOptions) { o.Policy = p } }

// OutputSample chooses SamplePolicy, keeping one of n events.
func OutputSample(n int) OutputOption {
	return func(o *OutputOptions) { o.Policy, o.Sample = SamplePolicy, n }
}

// OutputQueueSize sets how many events, and how many bytes of them, the buffer holds;
// the defaults are 8192 and 16 MiB.
func OutputQueueSize(events, bytes int) OutputOption {
	return func(o *OutputOptions) { o.QueueSize, o.QueueBytes = events, bytes }
}

// OutputInterval sets how long an event may wait for others to be written with; the
// default is 200 ms.
func OutputInterval(d time.Duration) OutputOption {
	return func(o *OutputOptions) { o.Interval = d }
}

// OutputTimeout bounds one write to the far end; the default is 5 s.
func OutputTimeout(d time.Duration) OutputOption {
	return func(o *OutputOptions) { o.Timeout = d }
}

// OutputLogger sets where loss and recovery are reported; the default, also with
// nil, is standard error. It must not lead back into the output.
func OutputLogger(l *slog.Logger) OutputOption { return func(o *OutputOptions) { o.Logger = l } }

// OutputRotate sets when the file is rotated: before it grows above size bytes, or
// once its first event is older than age; zero switches that condition off. The
// default is 100 MiB, at any age.
func OutputRotate(size int64, age time.Duration) OutputOption {
	return func(o *OutputOptions) { o.Size, o.Age = size, age }
}

// OutputBackups sets how many of the newest rotated files are kept, and whether they
// are gzipped; 0 keeps all. The default is 10, gzipped.
func OutputBackups(n int, compress bool) OutputOption {
	return func(o *OutputOptions) { o.Backups, o.Compress = n, compress }
}

// OutputReopen sets the signals on which a started file output opens its file
// anew, for a program that moves it away. Without signals it listens to none:
// SIGHUP then ends the program, as it does by default.
func OutputReopen(signals ...os.Signal) OutputOption {
	return func(o *OutputOptions) { o.Reopen = signals }
}

// Validate returns an ErrInvalid that names every option with a bad value.
func (o OutputOptions) Validate() error {
	c := option.Of("log")
	option.Within(c, "OutputPolicy", int(o.Policy), int(DropPolicy), int(SamplePolicy))
	option.AtLeast(c, "OutputSample", o.Sample, 1)
	option.AtLeast(c, "OutputQueueSize", o.QueueSize, 1)
	option.AtLeast(c, "OutputQueueSize", o.QueueBytes, 1)
	c.Positive("OutputInterval", o.Interval)
	c.Positive("OutputTimeout", o.Timeout)
	option.AtLeast(c, "OutputRotate", o.Size, 0)
	option.AtLeast(c, "OutputRotate", o.Age, 0)
	option.AtLeast(c, "OutputBackups", o.Backups, 0)
	return c.Err()
}

// repaired returns o with defaults in place of bad values, so that no event is lost
// because of them.
func (o OutputOptions) repaired() OutputOptions {
	good := NewOutputOptions()
	if o.Policy < DropPolicy || o.Policy > SamplePolicy {
		o.Policy = good.Policy
	}
	repair(&o.Sample, o.Sample >= 1, good.Sample)
	repair(&o.QueueSize, o.QueueSize >= 1, good.QueueSize)
	repair(&o.QueueBytes, o.QueueBytes >= 1, good.QueueBytes)
	repair(&o.Interval, o.Interval > 0, good.Interval)
	repair(&o.Timeout, o.Timeout > 0, good.Timeout)
	repair(&o.Size, o.Size >= 0, good.Size)
	repair(&o.Age, o.Age >= 0, good.Age)
	repair(&o.Backups, o.Backups >= 0, good.Backups)
	return o
}

func repair[T any](v *T, good bool, to T) {
	if !good {
		*v = to
	}
}
