// Package recorder is the metrics plugin for tests: it keeps everything in
// memory and tells what was recorded.
//
//	r := recorder.NewMetrics()
//	useTheService(r)
//	if r.CounterValue("orders", metrics.Fields{"kind": "gift"}) != 1 { ... }
package recorder

import (
	"maps"

	"github.com/micro/go-platform/metrics"
)

// keep is how many samples a histogram's series remembers unless Samples says
// otherwise.
const keep = 10_000

// Metrics records in memory. It is safe for concurrent use; what was recorded stays
// readable after Stop.
type Metrics struct{ metrics.Plugin }

// NewMetrics returns the plugin; String() is "recorder". It changes no
// character of ids and fields.
func NewMetrics(opts ...metrics.Option) *Metrics {
	m := &Metrics{}
	m.Config = func(o metrics.Options) metrics.StoreConfig {
		return metrics.StoreConfig{Fields: o.Fields, MaxSeries: o.MaxSeries, Idle: o.IdleTimeout, Samples: o.Samples}
	}
	m.Setup(append([]metrics.Option{metrics.Samples(keep)}, opts...)...)
	return m
}

// String implements metrics.Metrics.
func (m *Metrics) String() string { return "recorder" }

// CounterValue returns a counter's sum; 0 if nobody used it. Fields must be all
// that the series has.
func (m *Metrics) CounterValue(id string, f metrics.Fields) int64 {
	var value int64
	m.find(metrics.CounterKind, id, f, func(s *metrics.Series) { value, _ = s.Value() })
	return value
}

// GaugeValue returns a gauge's value; false if it is not set.
func (m *Metrics) GaugeValue(id string, f metrics.Fields) (value int64, ok bool) {
	m.find(metrics.GaugeKind, id, f, func(s *metrics.Series) { value, ok = s.Value() })
	return value, ok
}

// Samples returns what a histogram recorded, in order: all of them up to the
// option Samples (10000), of more a random choice.
func (m *Metrics) Samples(id string, f metrics.Fields) (samples []int64) {
	m.find(metrics.HistogramKind, id, f, func(s *metrics.Series) { samples, _ = s.Samples(nil) })
	return samples
}

// Each calls fn for each series that was used, in the order in which they
// appeared. It may read the series it is told of.
func (m *Metrics) Each(fn func(kind metrics.Kind, id string, f metrics.Fields)) {
	var all []func()
	m.Collect(func(s *metrics.Series) {
		if used(s) {
			kind, id, fields := s.Kind, s.ID, fieldsOf(s)
			all = append(all, func() { fn(kind, id, fields) })
		}
	})
	for _, call := range all { // outside of Collect, which holds a lock
		call()
	}
}

func used(s *metrics.Series) bool {
	if s.Kind == metrics.HistogramKind {
		samples, _ := s.Samples(nil)
		return len(samples) > 0
	}
	_, ok := s.Value()
	return ok
}

func (m *Metrics) find(kind metrics.Kind, id string, f metrics.Fields, fn func(*metrics.Series)) {
	m.Collect(func(s *metrics.Series) {
		if s.Kind == kind && s.ID == id && maps.Equal(fieldsOf(s), f) {
			fn(s)
		}
	})
}

func fieldsOf(s *metrics.Series) metrics.Fields {
	f := make(metrics.Fields, len(s.Tags))
	for _, t := range s.Tags {
		f[t.Name] = t.Value
	}
	return f
}
