// Package log is structured, levelled logging with many outputs: a JSON file
// by default, standard output, Logstash, Fluentd, a go-micro broker and slog in
// the folders beside it.
//
// An event is a level, a message, a time and fields. Logging never waits for an
// output: each one that leads out of the process sits behind a bounded Buffer
// with a policy of its own, and what it had to drop is counted and told in the
// very stream it is missing from.
package log

import (
	"context"
	"errors"

	"github.com/micro/go-platform/internal/batch"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/rpcerr"
)

// DefaultLevel is the level of a Log that was given none.
var DefaultLevel = InfoLevel

// DefaultOutputName is the file that NewOutput writes when it is given no name.
var DefaultOutputName = "log.json"

// Bounds of one event. What is longer is cut and ends in "…"; of more fields
// than MaxFields the last in order of name are left out and counted by the
// field "fields_dropped".
const (
	MaxMessage = 64 << 10 // bytes of a message
	MaxKey     = 256      // bytes of a field's name
	MaxValue   = 8 << 10  // bytes of a field's value
	MaxFields  = 64       // fields of one event
)

// The fields that Logger.WithContext adds.
const (
	TraceField = "trace_id"
	SpanField  = "span_id"
)

var (
	// ErrInvalid is wrapped by errors of options.
	ErrInvalid = rpcerr.ErrInvalid
	// ErrStopped is returned by an output that was closed and by the Start of a
	// Log that was stopped.
	ErrStopped = lifecycle.ErrStopped
	// ErrLost is returned by Stop, and by the Close of an output, when events
	// could not be delivered.
	ErrLost = lifecycle.ErrLost
	// ErrFull is returned by an output that dropped the event for want of room.
	ErrFull = batch.ErrFull
	// ErrNotFlushed is returned by a Flush that took longer than 2 s.
	ErrNotFlushed = errors.New("not flushed in time")
)

// Log is the root of all Loggers of a program: it owns the level, the outputs
// and the fields that every event carries.
//
// The first event starts the Log, as Start does, and logs an error of that to
// WithLogger. A bad option counts as its default, so that no event is lost because
// of it; Start returns an error for it, and for an output that cannot begin. After
// Stop events are counted as dropped; nothing hangs and nothing panics. All methods
// are safe for concurrent use.
type Log interface {
	// Init changes options at run time. The given outputs are added, and
	// replace the default file; level and exit function are replaced; fields are
	// merged and reach Loggers made from now on. An error that names an option
	// means that nothing was changed; any other is what an output said to being
	// started or closed.
	Init(...Option) error
	// Options returns a copy of the options in force.
	Options() Options
	// SetLevel changes the level of this Log and all its Loggers at once. An
	// unknown level is an error.
	SetLevel(Level) error
	// Level returns the lowest level that is logged.
	Level() Level
	// Dropped returns how many events were lost since the start, counted once
	// per output.
	Dropped() uint64
	Logger
	// Start begins the outputs. It is idempotent once it has succeeded; after Stop
	// it returns ErrStopped.
	Start() error
	// Stop flushes and closes every output, all at once and within about 2 s. It
	// returns an ErrLost that says how many events each output lost. It is
	// idempotent.
	Stop() error
	// String returns the name of the plugin.
	String() string
}

// Logger writes events. A message is made as fmt.Sprint or fmt.Sprintf make it;
// a format without arguments is taken as it is. A level outside of Debug to
// Fatal is logged as the nearest of Debug and Error.
type Logger interface {
	Debug(args ...any)
	Info(args ...any)
	Warn(args ...any)
	Error(args ...any)
	// Fatal logs, flushes every output within 2 s and ends the program with
	// status 1, or calls the function given by WithExit. So do Fatalf, and Log,
	// Logf and LogFields at FatalLevel.
	Fatal(args ...any)
	Debugf(format string, args ...any)
	Infof(format string, args ...any)
	Warnf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Log(level Level, args ...any)
	Logf(level Level, format string, args ...any)
	// LogFields logs a message with fields of its own, cheaper than making a
	// Logger for one event.
	LogFields(level Level, message string, fields ...Field)
	// Enabled reports whether events of this level are logged.
	Enabled(level Level) bool
	// WithFields returns a Logger whose events carry these fields too; a field of
	// the same name is replaced. The fields are encoded once, here: keep the
	// Logger where it is used often. The map is copied.
	WithFields(Fields) Logger
	// WithContext returns a Logger whose events carry the ids of the context's
	// span as the fields TraceField and SpanField, or the Logger itself when
	// there is no span.
	WithContext(ctx context.Context) Logger
}

// Output is where events go. Send is called from many goroutines at a time, on
// the path of the caller: it must not block. Put an output that may be slow
// behind Buffered, or write it as a Sink for NewBuffer, as those of this project
// are.
//
// The event belongs to the Log and is used again after Send: an output that
// keeps it, or its Fields, keeps the Clone. It must not change it. An error of
// Send means that the event was lost; the Log counts it. An output may have
// three more methods: Start() error, called by Log.Start, which promises that
// Close flushes (for others Log.Stop calls Flush first); Dropped() uint64, which
// then counts instead of the Log; and SendWait(ctx, *Event) error, by which an
// event at FatalLevel is sent, and which may wait for room.
type Output interface {
	// Send takes one event.
	Send(*Event) error
	// Flush returns when the events sent before it have left, or after 2 s with
	// an error.
	Flush() error
	// Close flushes within 2 s and frees what the output holds. It is
	// idempotent. A Send after it returns ErrStopped.
	Close() error
	// String returns the kind of output: "file", "stdout", ...
	String() string
}
