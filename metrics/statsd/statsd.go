// Package statsd sends metrics to plain statsd servers (etsy/statsd,
// statsd_exporter, Graphite's) or in the dogstatsd dialect to Datadog's agent.
// It is the default plugin of metrics with other lines: aggregation, bounds,
// losses and options are the same.
//
// Plain statsd has no tags: fields become further parts of the name, sorted,
// "namespace.id.name_value:1|c", in which '.' is replaced too. Dogstatsd's lines
// are "namespace.id:1|c|#name:value".
package statsd

import (
	"github.com/micro/go-platform/metrics"
	"github.com/micro/go-platform/metrics/internal/statsd"
)

// NewMetrics returns the plugin for plain statsd; String() is "statsd".
func NewMetrics(opts ...metrics.Option) metrics.Metrics {
	return metrics.NewMetrics(append([]metrics.Option{dialect(statsd.Plain)}, opts...)...)
}

// DogStatsD writes tags as Datadog's agent reads them; String() is then
// "dogstatsd". It is an option of NewMetrics and not of Init.
func DogStatsD() metrics.Option { return dialect(statsd.Dog) }

func dialect(d statsd.Dialect) metrics.Option {
	return func(o *metrics.Options) { o.Context = statsd.WithDialect(o.Context, d) }
}
