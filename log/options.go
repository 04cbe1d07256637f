package log

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
)

// Options of a Log.
type Options struct {
	Level   Level          // lowest level that is logged
	Outputs []Output       // where events go
	Fields  Fields         // carried by every event
	Redact  []string       // names of fields whose values are not logged
	Exit    func(code int) // ends the program after Fatal
	Logger  *slog.Logger   // for outputs that fail, see WithLogger

	errs []error
}

// Option changes the Options of a Log.
type Option func(*Options)

// WithLevel sets the lowest level that is logged, DefaultLevel unless given.
func WithLevel(level Level) Option {
	return func(o *Options) {
		if !level.valid() {
			o.fail("WithLevel: unknown level %d", int(level))
			return
		}
		o.Level = level
	}
}

// WithOutput adds an output; it may be given many times. A Log without any
// writes the file of NewOutput.
func WithOutput(out Output) Option {
	return func(o *Options) {
		if out == nil {
			o.fail("WithOutput: nil")
			return
		}
		o.Outputs = append(o.Outputs, out)
	}
}

// WithFields adds fields that every event carries: the service's name, say.
func WithFields(fields Fields) Option {
	return func(o *Options) {
		if o.Fields == nil {
			o.Fields = make(Fields, len(fields))
		}
		maps.Copy(o.Fields, fields)
	}
}

// WithRedact adds names of fields whose values are replaced by "[redacted]",
// compared in any letter case with the whole name and with what follows its last
// dot: "password" covers "user.Password". Messages are not searched. Fields of
// Loggers that exist already stay as they are.
func WithRedact(names ...string) Option {
	return func(o *Options) {
		for _, name := range names {
			if strings.TrimSpace(name) == "" {
				o.fail("WithRedact: empty name")
				return
			}
		}
		o.Redact = append(o.Redact, names...)
	}
}

// WithExit replaces os.Exit as what follows Fatal. When the function returns,
// so does Fatal.
func WithExit(exit func(code int)) Option {
	return func(o *Options) {
		if exit == nil {
			o.fail("WithExit: nil")
			return
		}
		o.Exit = exit
	}
}

// WithLogger sets where the Log tells of its own trouble: an output that begins
// or ceases to fail. By default that is standard error, and it must not be a
// logger that leads back into this Log.
func WithLogger(logger *slog.Logger) Option {
	return func(o *Options) {
		if logger == nil {
			o.fail("WithLogger: nil")
			return
		}
		o.Logger = logger
	}
}

func (o *Options) fail(format string, args ...any) {
	o.errs = append(o.errs, fmt.Errorf("log: %w: option "+format, append([]any{ErrInvalid}, args...)...))
}

// apply returns a copy of o with the options applied, and what was wrong with
// them.
func (o Options) apply(opts []Option) (Options, error) {
	o.Fields = maps.Clone(o.Fields)
	o.Outputs = slices.Clone(o.Outputs)
	o.Redact = slices.Clone(o.Redact)
	for _, opt := range opts {
		opt(&o)
	}
	err := errors.Join(o.errs...)
	o.errs = nil
	return o, err
}

func defaultOptions() Options {
	return Options{Level: DefaultLevel, Exit: os.Exit, Logger: stderr()}
}

// stderr is where trouble with logging is told: slog's default may well lead
// into the Log that is in trouble.
func stderr() *slog.Logger { return slog.New(slog.NewTextHandler(os.Stderr, nil)) }
