package metrics

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/micro/go-platform/internal/option"
)

// The defaults of the options.
const (
	defaultMaxSeries = 1000
	defaultSamples   = 256
	defaultIdle      = 10 * time.Minute
)

var (
	// DefaultNamespace comes before every id.
	DefaultNamespace = "micro"
	// DefaultBatchInterval is the time between two flushes.
	DefaultBatchInterval = 5 * time.Second
)

// defaultCollector is where Telegraf's statsd input listens.
const defaultCollector = "127.0.0.1:8125"

// Options are those of the plugins of this package and of those below it. Not every
// plugin uses all of them. Make them with NewOptions.
type Options struct {
	BatchInterval time.Duration
	Collectors    []string // empty: each plugin has its own default
	Namespace     string
	Fields        Fields
	MaxSeries     int
	IdleTimeout   time.Duration
	Samples       int
	Buckets       []int64
	Logger        *slog.Logger
	// Context carries the options that plugins define themselves.
	Context context.Context
}

// Option sets one of the Options.
type Option func(*Options)

// defaultBuckets returns the bounds 1, 2, 5, 10, ... 10⁸.
func defaultBuckets() []int64 {
	var bounds []int64
	for n := int64(1); n < 1e8; n *= 10 {
		bounds = append(bounds, n, 2*n, 5*n)
	}
	return append(bounds, 1e8)
}

// NewOptions returns the defaults with opts applied. It does not validate them.
func NewOptions(opts ...Option) Options {
	return Options{
		BatchInterval: DefaultBatchInterval,
		Namespace:     DefaultNamespace,
		MaxSeries:     defaultMaxSeries,
		IdleTimeout:   defaultIdle,
		Samples:       defaultSamples,
		Buckets:       defaultBuckets(),
		Context:       context.Background(),
	}.with(opts)
}

func (o Options) with(opts []Option) Options {
	option.Apply(&o, opts)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// The bounds of the options.
const (
	minInterval  = 10 * time.Millisecond
	maxNamespace = 64
	maxFields    = 16
	maxFieldName = 64
	maxFieldText = 128
	maxSamples   = 1 << 20
	maxBuckets   = 256
)

// Validate returns an ErrInvalid that names every option with a bad value.
func (o Options) Validate() error {
	c := option.Of("metrics")
	option.AtLeast(c, "BatchInterval", o.BatchInterval, minInterval)
	for _, address := range o.Collectors {
		_, port, err := net.SplitHostPort(address)
		c.That(err == nil && port != "", "Collectors", "%q is not host:port", address)
	}
	c.That(len(o.Namespace) <= maxNamespace && plain(o.Namespace), "Namespace",
		"%.80q is not of letters, digits, _ - . up to %d", o.Namespace, maxNamespace)
	c.That(len(o.Fields) <= maxFields, "WithFields", "%d fields are more than %d", len(o.Fields), maxFields)
	for name, value := range o.Fields {
		c.That(name != "" && len(name) <= maxFieldName, "WithFields", "the name %.80q is not of 1 to %d bytes", name, maxFieldName)
		c.That(len(value) <= maxFieldText, "WithFields", "the value of %.80q has %d bytes, more than %d", name, len(value), maxFieldText)
	}
	option.AtLeast(c, "MaxSeries", o.MaxSeries, 1)
	option.AtLeast(c, "IdleTimeout", o.IdleTimeout, time.Second)
	option.Within(c, "Samples", o.Samples, 2, maxSamples)
	option.Within(c, "Buckets", len(o.Buckets), 1, maxBuckets)
	for i := 1; i < len(o.Buckets); i++ {
		c.That(o.Buckets[i-1] < o.Buckets[i], "Buckets", "%d does not ascend from %d", o.Buckets[i], o.Buckets[i-1])
	}
	return c.Err()
}

// BatchInterval sets the time between two flushes, default 5 s, at least 10 ms.
func BatchInterval(d time.Duration) Option { return func(o *Options) { o.BatchInterval = d } }

// Collectors sets the host:port addresses that all receive everything, default
// 127.0.0.1:8125 for the statsd plugins. Names are resolved in the background,
// again every 30 s and after an error.
func Collectors(addrs []string) Option {
	return func(o *Options) { o.Collectors = slices.Clone(addrs) }
}

// Namespace sets what comes before every id, default "micro"; empty for
// nothing. It may have up to 64 letters, digits, '_', '-' and '.'.
func Namespace(name string) Option { return func(o *Options) { o.Namespace = name } }

func plain(s string) bool {
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '.') {
			return false
		}
	}
	return true
}

// WithFields adds fields to every series, up to 16 with names of up to 64 bytes
// and values of up to 128. Together with MaxSeries, Samples and Buckets it cannot
// be changed by Init once metrics were handed out.
func WithFields(f Fields) Option {
	return func(o *Options) {
		merged := make(Fields, len(o.Fields)+len(f))
		maps.Copy(merged, o.Fields)
		maps.Copy(merged, f)
		o.Fields = merged
	}
}

// MaxSeries sets how many sets of fields one id may have, default 1000, at least
// 1. The rest is collected in one more series with the field "overflow=true".
func MaxSeries(n int) Option { return func(o *Options) { o.MaxSeries = n } }

// IdleTimeout sets how long a series goes without an update before it is evicted,
// default 10 min, at least 1 s. Only ids that have MaxSeries series evict. A held
// metric whose series was evicted goes on where it was if there is room, else in
// the overflow series.
func IdleTimeout(d time.Duration) Option { return func(o *Options) { o.IdleTimeout = d } }

// Samples sets how many samples of a histogram's series are kept between two
// flushes, default 256, from 2 to 1048576. It is for the plugins that send samples.
// Of more samples a random choice is sent with its sample rate.
func Samples(n int) Option { return func(o *Options) { o.Samples = n } }

// Buckets sets the 1 to 256 ascending upper bounds of histograms, default 1, 2, 5,
// 10, ... 10⁸: with microseconds up to 100 seconds. It is for the plugins that count
// per bucket (prometheus, otlp).
func Buckets(bounds []int64) Option {
	return func(o *Options) { o.Buckets = slices.Clone(bounds) }
}

// Logger sets where loss and recovery are logged; the default, also with nil, is
// slog.Default().
func Logger(l *slog.Logger) Option { return func(o *Options) { o.Logger = l } }
