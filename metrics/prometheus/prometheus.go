// Package prometheus serves metrics to Prometheus: Handler answers /metrics.
//
// The name of a metric is namespace_id, of a counter namespace_id_total. A histogram
// whose id ends in _us has microseconds: it is served in seconds, and its name ends
// in _seconds instead of _us. What Prometheus does not allow in names of metrics and
// labels becomes '_'; values of labels keep every character but invalid UTF-8, up to
// 128 bytes. Reserved labels (le, quantile) get a '_' behind them. An id used for two
// kinds gets the later kind behind its name.
//
// Counters that were decremented have the type untyped from then on; rate() and
// increase() treat an untyped series as a counter, so that Decr looks to them
// like a restart. Histograms have the bounds of the option Buckets.
package prometheus

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/micro/go-platform/internal/loss"
	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/metrics"
)

// Metrics is the plugin. BatchInterval, Collectors and Samples mean nothing to
// it: Prometheus comes and reads.
type Metrics struct {
	metrics.Plugin
	registry *prom.Registry
	shared   bool // with other collectors
	claimed  *slot
	series   *collector
	lost     loss.Counter // series that scrapes could not write
	mu       sync.Mutex
	said     time.Time // of the last warning about them
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

// NewMetrics returns the plugin; String() is "prometheus". Its series are in the
// registry from Start on. After Stop they stay readable in a registry of its own,
// and leave one of the caller's. A registry takes one plugin per namespace; Start
// returns an ErrInvalid for a second one.
func NewMetrics(opts ...metrics.Option) *Metrics {
	m := &Metrics{}
	m.Config = func(o metrics.Options) metrics.StoreConfig {
		return metrics.StoreConfig{Fields: o.Fields, MaxSeries: o.MaxSeries, Idle: o.IdleTimeout, Buckets: o.Buckets, Clean: clean}
	}
	m.Begin, m.End = m.register, m.unregister
	m.Setup(opts...)
	m.registry = option.From[own](m.Options().Context).registry
	if m.shared = m.registry != nil; !m.shared {
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
	m.series = &collector{store: m.Store, namespace: namespace, taken: map[string]owner{}}
	claimed, err := claim(m.registry, namespace)
	if err != nil {
		return fmt.Errorf("metrics: register at Prometheus' registry: %w", err)
	}
	if !claimed.held.CompareAndSwap(nil, m.series) {
		check := option.Of("metrics")
		check.That(false, "Registry", "another plugin has the namespace %q there", o.Namespace)
		return check.Err()
	}
	m.claimed = claimed
	return nil
}

// unregister removes the series from a registry of the caller's, whose namespace is
// then free.
func (m *Metrics) unregister() error {
	if m.shared {
		m.claimed.held.Store(nil)
	}
	return nil
}

// Handler serves the registry. A series that cannot be written, for example because
// another collector has it too, does not hold back the others. It is logged, at most
// every five minutes, and counted in Dropped at each scrape.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, ErrorLog: complaints{m}})
}

// complaints takes what the Handler logs.
type complaints struct{ m *Metrics }

// Println implements promhttp.Logger. The last of its arguments is the error. What is
// not of the gathering is of a scraper that hung up, which lacks nothing that it
// still wants.
func (c complaints) Println(v ...any) {
	if what, _ := v[0].(string); !strings.HasPrefix(what, "error gathering metrics") {
		return
	}
	m := c.m
	n := 1
	if all, ok := v[len(v)-1].(prom.MultiError); ok {
		n = len(all)
	}
	m.lost.Add(n)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.said.IsZero() || time.Since(m.said) > patience {
		m.said = time.Now()
		m.Options().Logger.Warn("a scrape lacks series", "error", fmt.Sprint(v...))
	}
}

// patience is the least time between two warnings.
const patience = 5 * time.Minute

// Dropped returns how many series were missing in scrapes, plus how many updates
// came after Stop.
func (m *Metrics) Dropped() uint64 { return m.Plugin.Dropped() + m.lost.Total() }

// String implements metrics.Metrics.
func (m *Metrics) String() string { return "prometheus" }
