// Package prometheus serves metrics to Prometheus: Handler answers /metrics.
//
// The name of a metric is namespace_id. What Prometheus does not allow in names
// of metrics and labels becomes '_'; values of labels keep every character but
// invalid UTF-8, up to 128 bytes. Reserved labels (le, quantile) get a '_'
// behind them. An id used for two kinds gets the later kind behind its name.
//
// Counters have the type untyped, because Decr may take them down; rate() and
// increase() treat an untyped series as a counter, so that Decr looks to them
// like a restart. Histograms have the bounds of the option Buckets.
package prometheus

import (
	"net/http"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/metrics"
)

// Metrics is the plugin. BatchInterval, Collectors and Samples mean nothing to
// it: Prometheus comes and reads.
type Metrics struct {
	metrics.Plugin
	registry *prom.Registry
}

// own is what the options of this package set.
type own struct{ registry *prom.Registry }

// Registry makes the plugin use a registry of the caller's, which may have
// other collectors. It is an option of NewMetrics and not of Init.
func Registry(r *prom.Registry) metrics.Option {
	return func(o *metrics.Options) {
		o.Context = option.With(o.Context, func(t *own) { t.registry = r })
	}
}

// NewMetrics returns the plugin; String() is "prometheus". Its series appear in
// the registry from Start on and stay readable after Stop. Start returns an
// error if the registry refuses them.
func NewMetrics(opts ...metrics.Option) *Metrics {
	m := &Metrics{}
	m.Config = func(o metrics.Options) metrics.StoreConfig {
		return metrics.StoreConfig{Fields: o.Fields, MaxSeries: o.MaxSeries, Buckets: o.Buckets, Clean: clean}
	}
	m.Begin = m.register
	m.Setup(opts...)
	m.registry = option.From[own](m.Options().Context).registry
	if m.registry == nil {
		m.registry = prom.NewRegistry()
	}
	return m
}

func (m *Metrics) register(o metrics.Options) error {
	namespace := name(o.Namespace)
	if o.Namespace != "" {
		namespace += "_"
	} else {
		namespace = ""
	}
	return m.registry.Register(&collector{store: m.Store, namespace: namespace, taken: map[string]owner{}})
}

// Handler serves the registry. A metric that cannot be written does not hold
// back the others.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// String implements metrics.Metrics.
func (m *Metrics) String() string { return "prometheus" }
