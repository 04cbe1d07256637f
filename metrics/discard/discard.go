// Package discard is the metrics plugin that keeps nothing: for benchmarks and
// for programs that take metrics as an option.
package discard

import "github.com/micro/go-platform/metrics"

// NewMetrics returns the plugin; String() is "discard". Options are checked and
// otherwise ignored.
func NewMetrics(opts ...metrics.Option) metrics.Metrics {
	d := &discard{}
	d.Config = func(metrics.Options) metrics.StoreConfig { return metrics.StoreConfig{} }
	d.Setup(opts...)
	d.all = d.Store.Counter("all")
	return d
}

// discard hides the store of the plugin behind metrics that keep nothing. They share
// one counter, which starts the plugin and counts the updates after Stop.
type discard struct {
	metrics.Plugin
	all metrics.Counter
}

func (d *discard) String() string                     { return "discard" }
func (d *discard) Counter(string) metrics.Counter     { return counter{d.all} }
func (d *discard) Gauge(string) metrics.Gauge         { return gauge{d.all} }
func (d *discard) Histogram(string) metrics.Histogram { return histogram{d.all} }

type counter struct{ all metrics.Counter }

func (c counter) Incr(uint64)                               { c.all.Incr(0) }
func (c counter) Decr(uint64)                               { c.all.Incr(0) }
func (c counter) Reset()                                    {}
func (c counter) WithFields(metrics.Fields) metrics.Counter { return c }

type gauge struct{ all metrics.Counter }

func (g gauge) Set(int64)                               { g.all.Incr(0) }
func (g gauge) Reset()                                  {}
func (g gauge) WithFields(metrics.Fields) metrics.Gauge { return g }

type histogram struct{ all metrics.Counter }

func (h histogram) Record(int64)                                { h.all.Incr(0) }
func (h histogram) Reset()                                      {}
func (h histogram) WithFields(metrics.Fields) metrics.Histogram { return h }
