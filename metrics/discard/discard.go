// Package discard is the metrics plugin that keeps nothing: for benchmarks and
// for programs that take metrics as an option.
package discard

import "github.com/micro/go-platform/metrics"

// NewMetrics returns the plugin; String() is "discard". Options are checked and
// otherwise ignored.
func NewMetrics(opts ...metrics.Option) metrics.Metrics {
	d := &discard{}
	d.Config = func(metrics.Options) metrics.StoreConfig { return metrics.StoreConfig{} }
	d.Setup(metrics.DefaultOptions(), opts...)
	return d
}

// discard hides the store of the plugin behind metrics that do nothing.
type discard struct{ metrics.Plugin }

func (d *discard) String() string                     { return "discard" }
func (d *discard) Counter(string) metrics.Counter     { return counter{} }
func (d *discard) Gauge(string) metrics.Gauge         { return gauge{} }
func (d *discard) Histogram(string) metrics.Histogram { return histogram{} }

type counter struct{}

func (counter) Incr(uint64)                                 {}
func (counter) Decr(uint64)                                 {}
func (counter) Reset()                                      {}
func (c counter) WithFields(metrics.Fields) metrics.Counter { return c }

type gauge struct{}

func (gauge) Set(int64)                                 {}
func (gauge) Reset()                                    {}
func (g gauge) WithFields(metrics.Fields) metrics.Gauge { return g }

type histogram struct{}

func (histogram) Record(int64)                                  {}
func (histogram) Reset()                                        {}
func (h histogram) WithFields(metrics.Fields) metrics.Histogram { return h }
