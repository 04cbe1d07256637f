package config

import (
	"fmt"
	"log/slog"
	"time"

	"go-micro.dev/v6/client"
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
}

// PollInterval is how often each source is read, whether or not it tells of
// changes by itself: DefaultPollInterval unless given, from 10 ms to a day. A
// source that fails is read again sooner.
func PollInterval(d time.Duration) Option { return func(o *Options) { o.PollInterval = d } }

// StartTimeout bounds what Start waits for sources, 10 s unless given. What
// answers later is taken then.
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

// WithClient is what config-srv is asked with when no source was given,
// client.DefaultClient unless given.
func WithClient(c client.Client) Option { return func(o *Options) { o.Client = c } }

// WithReader reads and merges what sources say, NewReader unless given.
func WithReader(r Reader) Option { return func(o *Options) { o.Reader = r } }

// SnapshotFile keeps what each source said last in a file of mode 0600 that is
// replaced as a whole. A source that cannot be read at Start takes its values
// from there. The folder must exist. Changes of Set and Del are not kept.
func SnapshotFile(path string) Option { return func(o *Options) { o.SnapshotFile = path } }

// Logger is told of sources that fail and recover, slog.Default() unless given.
func Logger(l *slog.Logger) Option { return func(o *Options) { o.Logger = l } }

func newOptions(opts []Option) Options {
	o := Options{PollInterval: DefaultPollInterval, StartTimeout: defaultStartTimeout}
	for _, opt := range opts {
		opt(&o)
	}
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

func (o *Options) validate() error {
	if o.PollInterval < MinPollInterval || o.PollInterval > MaxPollInterval {
		return fmt.Errorf("config: option PollInterval: %w: %v is not within %v and %v", ErrInvalid, o.PollInterval, MinPollInterval, MaxPollInterval)
	}
	if o.StartTimeout <= 0 {
		return fmt.Errorf("config: option StartTimeout: %w: %v is not positive", ErrInvalid, o.StartTimeout)
	}
	if len(o.Sources) > MaxSources {
		return fmt.Errorf("config: option WithSource: %w: %d sources, more than %d", ErrInvalid, len(o.Sources), MaxSources)
	}
	for i, s := range o.Sources {
		if s == nil {
			return fmt.Errorf("config: option WithSource: %w: source %d is nil", ErrInvalid, i)
		}
	}
	return nil
}
