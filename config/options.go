package config

import (
	"context"
	"log/slog"
	"time"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/internal/option"
)

// Bounds of options.
const (
	MinPollInterval = 10 * time.Millisecond
	MaxPollInterval = 24 * time.Hour
	MaxSources      = 32
)

// defaultStartTimeout bounds what Start waits for sources.
const defaultStartTimeout = 10 * time.Second

// Option changes a Config that is being made.
type Option func(*Options)

// Options are what the options said.
type Options struct {
	PollInterval time.Duration
	StartTimeout time.Duration
	Sources      []Source
	Optional     []bool // of the source at the same place
	Client       client.Client
	Reader       Reader
	SnapshotFile string
	Logger       *slog.Logger
	// Context carries the options that other implementations define themselves.
	Context context.Context
}

// PollInterval sets how often each source is read, whether or not it pushes
// changes, from 10 ms to a day; the default is DefaultPollInterval. A source that
// fails is read again sooner.
func PollInterval(d time.Duration) Option { return func(o *Options) { o.PollInterval = d } }

// StartTimeout sets how long Start, or the first call, waits for sources; the
// default is 10 s. A source that answers later is used from then on.
func StartTimeout(d time.Duration) Option { return func(o *Options) { o.StartTimeout = d } }

// WithSource adds a source that Start requires. Later sources win. Without any
// source the config reads DefaultSourceName from config-srv, optionally.
func WithSource(s Source) Option {
	return func(o *Options) {
		o.Sources, o.Optional = append(o.Sources, s), append(o.Optional, false)
	}
}

// WithOptionalSource adds a source that may be absent until it appears.
func WithOptionalSource(s Source) Option {
	return func(o *Options) {
		o.Sources, o.Optional = append(o.Sources, s), append(o.Optional, true)
	}
}

// WithClient sets the client that asks config-srv when no source is given; the
// default is client.DefaultClient. What applies of it SourceClient says.
func WithClient(c client.Client) Option { return func(o *Options) { o.Client = c } }

// WithReader sets the Reader that decodes and merges what sources say; the default
// is NewReader.
func WithReader(r Reader) Option { return func(o *Options) { o.Reader = r } }

// SnapshotFile sets a file of mode 0600, replaced as a whole, that keeps what each
// source said last. A source that cannot be read at Start takes its values from
// there; a source that answers ErrNotFound does not. The folder must exist. Changes
// of Set and Del are not kept. The default is no file.
func SnapshotFile(path string) Option { return func(o *Options) { o.SnapshotFile = path } }

// Logger sets where sources that fail and recover, and values that do not convert,
// are reported; the default, also with nil, is slog.Default().
func Logger(l *slog.Logger) Option { return func(o *Options) { o.Logger = l } }

// NewOptions returns the defaults with opts applied. It does not validate them.
func NewOptions(opts ...Option) Options {
	o := Options{PollInterval: DefaultPollInterval, StartTimeout: defaultStartTimeout, Context: context.Background()}
	option.Apply(&o, opts)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Reader == nil {
		o.Reader = NewReader()
	}
	if len(o.Sources) == 0 {
		o.Sources, o.Optional = []Source{NewSource(SourceClient(o.Client))}, []bool{true}
	}
	return o
}

// Validate returns an ErrInvalid that names every option with a bad value.
func (o Options) Validate() error {
	c := option.Of("config")
	option.Within(c, "PollInterval", o.PollInterval, MinPollInterval, MaxPollInterval)
	c.Positive("StartTimeout", o.StartTimeout)
	c.That(len(o.Sources) <= MaxSources, "WithSource", "%d sources are more than %d", len(o.Sources), MaxSources)
	for i, s := range o.Sources {
		c.That(s != nil, "WithSource", "source %d is nil", i)
	}
	return c.Err()
}
