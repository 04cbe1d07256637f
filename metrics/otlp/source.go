package otlp

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/micro/go-platform/metrics"
)

// source hands the store's series to the SDK's readers. It is a producer and
// not a set of instruments because the store already aggregates, at a tenth of
// an instrument's cost, and bounds the series.
type source struct {
	store     *metrics.Store
	namespace string
}

func newSource(store *metrics.Store, namespace string) *source {
	if namespace != "" {
		namespace += "."
	}
	return &source{store, namespace}
}

// Produce implements the SDK's Producer.
func (s *source) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	b := builder{source: s, now: time.Now(), index: map[metric]int{}}
	s.store.Collect(b.add)
	if len(b.metrics) == 0 {
		return nil, nil
	}
	return []metricdata.ScopeMetrics{{
		Scope:   instrumentation.Scope{Name: "github.com/micro/go-platform/metrics", SchemaURL: semconv.SchemaURL},
		Metrics: b.metrics,
	}}, nil
}

type metric struct {
	kind metrics.Kind
	id   string
	name string // by the conventions
}

// builder groups series by metric.
type builder struct {
	*source
	now     time.Time
	index   map[metric]int
	metrics []metricdata.Metrics
}

func (b *builder) add(s *metrics.Series) {
	switch s.Kind {
	case metrics.CounterKind:
		if value, ok := s.Value(); ok {
			m := b.metric(s, metricdata.Sum[int64]{Temporality: metricdata.CumulativeTemporality, IsMonotonic: !s.Falls()})
			sum := m.Data.(metricdata.Sum[int64])
			sum.DataPoints = append(sum.DataPoints, b.point(s, value))
			m.Data = sum
		}
	case metrics.GaugeKind:
		if value, ok := s.Value(); ok {
			m := b.metric(s, metricdata.Gauge[int64]{})
			gauge := m.Data.(metricdata.Gauge[int64])
			gauge.DataPoints = append(gauge.DataPoints, b.point(s, value))
			m.Data = gauge
		}
	case metrics.HistogramKind:
		b.histogram(s)
	}
}

// histogram adds a histogram. Durations are in seconds, as OpenTelemetry's
// conventions demand.
func (b *builder) histogram(s *metrics.Series) {
	bounds, counts, count, sum := s.Buckets()
	if count == 0 {
		return
	}
	unit := 1.0
	if _, ok := s.Duration(); ok {
		unit = 1e6
	}
	m := b.metric(s, metricdata.Histogram[float64]{Temporality: metricdata.CumulativeTemporality})
	h := m.Data.(metricdata.Histogram[float64])
	h.DataPoints = append(h.DataPoints, metricdata.HistogramDataPoint[float64]{
		Attributes: described(s).set, StartTime: s.Since(), Time: b.now,
		Count: count, Bounds: floats(bounds, unit), BucketCounts: counts, Sum: float64(sum) / unit,
	})
	m.Data = h
}

// metric returns the metric of a series, beginning with empty data.
func (b *builder) metric(s *metrics.Series, empty metricdata.Aggregation) *metricdata.Metrics {
	made := described(s)
	key := metric{s.Kind, s.ID, made.name}
	i, ok := b.index[key]
	if !ok {
		i = len(b.metrics)
		b.index[key] = i
		m := metricdata.Metrics{Name: b.namespace + s.ID, Data: empty}
		if base, ok := s.Duration(); ok {
			m.Name, m.Unit = b.namespace+base, "s"
		}
		if made.name != "" {
			m.Name = made.name
		}
		b.metrics = append(b.metrics, m)
	}
	return &b.metrics[i]
}

func (b *builder) point(s *metrics.Series, value int64) metricdata.DataPoint[int64] {
	return metricdata.DataPoint[int64]{Attributes: described(s).set, StartTime: s.Since(), Time: b.now, Value: value}
}

// description is what is kept of a series.
type description struct {
	name string // by the conventions; "" for that of its id
	set  attribute.Set
}

func described(s *metrics.Series) *description {
	if d, ok := s.Cache.(*description); ok {
		return d
	}
	name, pairs, ok := conventional(s)
	if !ok {
		pairs = make([]attribute.KeyValue, len(s.Tags))
		for i, t := range s.Tags {
			pairs[i] = attribute.String(t.Name, t.Value)
		}
	}
	d := &description{name, attribute.NewSet(pairs...)}
	s.Cache = d
	return d
}

func floats(bounds []int64, unit float64) []float64 {
	out := make([]float64, len(bounds))
	for i, b := range bounds {
		out[i] = float64(b) / unit
	}
	return out
}

// clean makes strings fit for protobuf, which refuses a whole export for one
// that is not UTF-8.
func clean(id string, tags []metrics.Tag) (string, []metrics.Tag, bool) {
	for i, t := range tags {
		tags[i] = metrics.Tag{Name: text(t.Name, 64), Value: text(t.Value, 128)}
	}
	if id = text(id, 200); id == "" {
		id = "unnamed"
	}
	return id, tags, true
}

func text(s string, max int) string {
	return strings.ToValidUTF8(s[:min(len(s), max)], "_")
}
