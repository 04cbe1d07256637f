package metrics

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"time"
)

// The defaults of the options.
const (
	defaultMaxSeries = 1000
	defaultSamples   = 256
)

var (
	// DefaultNamespace comes before every id.
	DefaultNamespace = "micro"
	// DefaultBatchInterval is the time between two flushes.
	DefaultBatchInterval = 5 * time.Second
)

// defaultCollector is where Telegraf's statsd input listens.
const defaultCollector = "127.0.0.1:8125"

// Options of a plugin. Not every plugin uses all of them.
type Options struct {
	BatchInterval time.Duration
	Collectors    []string
	Namespace     string
	Fields        Fields
	MaxSeries     int
	Samples       int
	Buckets       []int64
	Logger        *slog.Logger
	// Context carries the options of further plugins.
	Context context.Context

	err error // the first bad option
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

func (o *Options) check(ok bool, format string, args ...any) bool {
	if !ok && o.err == nil {
		o.err = fmt.Errorf("metrics: %w: option "+format, append([]any{ErrInvalid}, args...)...)
	}
	return ok
}

// BatchInterval sets the time between two flushes, default 5 s, at least 10 ms.
func BatchInterval(d time.Duration) Option {
	return func(o *Options) {
		if o.check(d >= 10*time.Millisecond, "BatchInterval: %v is less than 10ms", d) {
			o.BatchInterval = d
		}
	}
}

// Collectors sets the host:port addresses that all receive everything, default
// 127.0.0.1:8125 for the statsd plugins. Names are resolved in the background,
// again every 30 s and after an error.
func Collectors(addrs []string) Option {
	return func(o *Options) {
		ok := o.check(len(addrs) > 0, "Collectors: none given")
		for _, addr := range addrs {
			_, port, err := net.SplitHostPort(addr)
			ok = ok && o.check(err == nil && port != "", "Collectors: %q is not host:port", addr)
		}
		if ok {
			o.Collectors = slices.Clone(addrs)
		}
	}
}

// Namespace sets what comes before every id, default "micro"; empty for
// nothing. It may have letters, digits, '_', '-' and '.'.
func Namespace(name string) Option {
	return func(o *Options) {
		if o.check(len(name) <= 64 && plain(name), "Namespace: %.80q is not of letters, digits, _ - . up to 64", name) {
			o.Namespace = name
		}
	}
}

func plain(s string) bool {
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '.') {
			return false
		}
	}
	return true
}

// WithFields adds fields to every series. Together with Namespace and
// MaxSeries it cannot be changed by Init once metrics were handed out.
func WithFields(f Fields) Option {
	return func(o *Options) {
		ok := o.check(len(o.Fields)+len(f) <= 16, "WithFields: more than 16 fields")
		for name, value := range f {
			ok = ok && o.check(name != "" && len(name) <= 64, "WithFields: name %.80q is empty or longer than 64 bytes", name)
			ok = ok && o.check(len(value) <= 128, "WithFields: value of %q is longer than 128 bytes", name)
		}
		if ok {
			merged := maps.Clone(o.Fields)
			if merged == nil {
				merged = make(Fields, len(f))
			}
			maps.Copy(merged, f)
			o.Fields = merged
		}
	}
}

// MaxSeries sets how many sets of fields one id may have, default 1000. The
// rest is collected in one more series with the field "overflow=true".
func MaxSeries(n int) Option {
	return func(o *Options) {
		if o.check(n > 0, "MaxSeries: %d is not positive", n) {
			o.MaxSeries = n
		}
	}
}

// Samples sets how many samples of a histogram's series are kept between two
// flushes, default 256; for the plugins that send samples. Of more, a random
// choice is sent with its sample rate.
func Samples(n int) Option {
	return func(o *Options) {
		if o.check(n >= 2 && n <= 1<<20, "Samples: %d is not within 2 and 1048576", n) {
			o.Samples = n
		}
	}
}

// Buckets sets the upper bounds of histograms, for the plugins that count per
// bucket (prometheus, otlp), default 1, 2, 5, 10, ... 10⁸: with microseconds up to
// 100 seconds.
func Buckets(bounds []int64) Option {
	return func(o *Options) {
		ok := len(bounds) > 0 && slices.IsSorted(bounds) && len(slices.Compact(slices.Clone(bounds))) == len(bounds)
		if o.check(ok && len(bounds) <= 256, "Buckets: bounds must be 1 to 256 and ascend") {
			o.Buckets = slices.Clone(bounds)
		}
	}
}

// Logger sets where loss and recovery are logged, default slog.Default().
func Logger(l *slog.Logger) Option {
	return func(o *Options) {
		if o.check(l != nil, "Logger: nil") {
			o.Logger = l
		}
	}
}
