package log

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/micro/go-platform/internal/option"
)

// Options of a Log.
type Options struct {
	Level   Level          // lowest level that is logged
	Outputs []Output       // where events go
	Fields  Fields         // carried by every event
	Redact  []string       // names of fields whose values are not logged
	Exit    func(code int) // ends the program after Fatal
	Logger  *slog.Logger   // for outputs that fail, see WithLogger
	// Context carries the options that plugins define themselves.
	Context context.Context
}

// Option changes the Options of a Log.
type Option func(*Options)

// NewOptions returns the defaults with opts applied. It does not validate them.
func NewOptions(opts ...Option) Options {
	return Options{Level: DefaultLevel, Exit: os.Exit, Context: context.Background()}.apply(opts)
}

// apply returns a copy of o with opts applied.
func (o Options) apply(opts []Option) Options {
	o.Fields = maps.Clone(o.Fields)
	o.Outputs = slices.Clone(o.Outputs)
	o.Redact = slices.Clone(o.Redact)
	option.Apply(&o, opts)
	if o.Logger == nil {
		o.Logger = stderr()
	}
	return o
}

// Validate returns an ErrInvalid that names every option with a bad value.
func (o Options) Validate() error {
	c := option.Of("log")
	option.Within(c, "WithLevel", int(o.Level), int(DebugLevel), int(FatalLevel))
	for i, out := range o.Outputs {
		c.That(out != nil, "WithOutput", "output %d is nil", i)
	}
	for i, name := range o.Redact {
		c.That(strings.TrimSpace(name) != "", "WithRedact", "name %d is empty", i)
	}
	c.That(o.Exit != nil, "WithExit", "the function is nil")
	return c.Err()
}

// repaired returns o with defaults in place of bad values, so that no event is lost
// because of them.
func (o Options) repaired() Options {
	if !o.Level.valid() {
		o.Level = DefaultLevel
	}
	if o.Exit == nil {
		o.Exit = os.Exit
	}
	o.Outputs = slices.DeleteFunc(slices.Clone(o.Outputs), func(out Output) bool { return out == nil })
	o.Redact = slices.DeleteFunc(slices.Clone(o.Redact), func(name string) bool { return strings.TrimSpace(name) == "" })
	return o
}

// WithLevel sets the lowest level that is logged; the default is DefaultLevel.
func WithLevel(level Level) Option { return func(o *Options) { o.Level = level } }

// WithOutput adds an output; it may be given many times. A Log without any
// writes the file of NewOutput.
func WithOutput(out Output) Option {
	return func(o *Options) { o.Outputs = append(o.Outputs, out) }
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
// compared in any letter case with the whole name and with its parts between dots:
// "password" covers "user.Password" and "password.new", "db.user" covers
// "old.db.user". So all that is in slog's group "password" is covered, too. Messages
// are not searched. Fields of
// Loggers that exist already stay as they are.
func WithRedact(names ...string) Option {
	return func(o *Options) { o.Redact = append(o.Redact, names...) }
}

// WithExit sets the function that Fatal calls last; the default is os.Exit. When the
// function returns, so does Fatal.
func WithExit(exit func(code int)) Option { return func(o *Options) { o.Exit = exit } }

// WithLogger sets where the Log tells of its own trouble: an output that begins
// or ceases to fail. The default, also with nil, is standard error. The logger must
// not lead back into this Log, as slog.Default() might.
func WithLogger(logger *slog.Logger) Option { return func(o *Options) { o.Logger = logger } }

// stderr is where trouble with logging is told: slog's default may well lead
// into the Log that is in trouble.
func stderr() *slog.Logger { return slog.New(slog.NewTextHandler(os.Stderr, nil)) }
