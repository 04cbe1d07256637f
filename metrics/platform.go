package metrics

import (
	"errors"
	"slices"
	"sync/atomic"

	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/metrics/internal/statsd"
)

var (
	// ErrInvalid is wrapped by errors of Init and Start that name a bad option.
	ErrInvalid = rpcerr.ErrInvalid
	// ErrStarted is returned by Init once the plugin was started, by Start or by
	// the first update.
	ErrStarted = errors.New("metrics: started: Init comes before")
	// ErrStopped is returned by Start and Init after Stop.
	ErrStopped = lifecycle.ErrStopped
	// ErrLost is returned by Stop when values did not arrive; its text counts them.
	ErrLost = lifecycle.ErrLost
)

// telegraf is the default plugin, and in other dialects metrics/statsd.
type telegraf struct {
	Plugin
	dialect statsd.Dialect
	client  atomic.Pointer[statsd.Client] // set by begin
}

// NewMetrics returns the default plugin: it aggregates in the process and sends
// to Telegraf's statsd input with InfluxDB tags, over UDP in datagrams of at
// most 1432 bytes, to all Collectors: "namespace.id,tag=value:N|c" (g, ms).
//
// Histograms whose ids end in "_us" are sent in milliseconds, without the "_us".
// Ids and fields keep what is printable; : | , = @ # \ quotes, white space,
// control characters and invalid UTF-8 become '_'. Ids are cut at 200 bytes,
// names of fields at 64, values at 128; fields of more than about 1000 bytes in
// all go to the overflow series.
//
// The plugin also has Overflowed() uint64, which counts the look-ups that ended in
// an overflow series.
func NewMetrics(opts ...Option) Metrics {
	t := &telegraf{dialect: statsd.DialectOf(NewOptions(opts...).Context)}
	t.Config, t.Begin, t.End = t.config, t.begin, t.end
	t.Setup(opts...)
	return t
}

func (t *telegraf) config(o Options) StoreConfig {
	return StoreConfig{
		Fields:    o.Fields,
		MaxSeries: o.MaxSeries, Idle: o.IdleTimeout,
		Samples: o.Samples,
		Clean:   cleaner(t.dialect),
	}
}

// cleaner leaves room for the namespace, which comes before the id only when
// it is sent.
func cleaner(d statsd.Dialect) func(string, []Tag) (string, []Tag, bool) {
	return func(id string, tags []Tag) (string, []Tag, bool) {
		id = d.CleanName(id)
		for i, tag := range tags {
			tags[i].Name, tags[i].Value = d.CleanTag(tag.Name, tag.Value)
		}
		return id, tags, d.Fits(id, len(tags), size(tags))
	}
}

func (t *telegraf) begin(o Options) error {
	if len(o.Collectors) == 0 {
		o.Collectors = []string{defaultCollector}
	}
	w := &writer{store: t.Store, namespace: o.Namespace, lines: statsd.Builder{Dialect: t.dialect}}
	client := statsd.New(statsd.Config{
		Collectors: slices.Compact(slices.Sorted(slices.Values(o.Collectors))),
		Interval:   o.BatchInterval,
		Logger:     o.Logger,
		Report:     t.ReportOverflow,
		Collect:    w.collect,
	})
	t.client.Store(client)
	return client.Start()
}

func (t *telegraf) end() error { return t.client.Load().Stop() }

// Dropped returns how many values were not sent, once per collector that
// misses them, and how many updates came after Stop.
func (t *telegraf) Dropped() uint64 {
	n := t.Plugin.Dropped()
	if client := t.client.Load(); client != nil {
		n += client.Dropped()
	}
	return n
}

// String implements Metrics.
func (t *telegraf) String() string { return t.dialect.String() }

// writer turns series into datagrams.
type writer struct {
	store     *Store
	namespace string
	lines     statsd.Builder
	samples   []int64
}

func (w *writer) collect(last bool) ([]statsd.Packet, int) {
	w.store.Collect(func(s *Series) {
		w.write(s)
		if last && s.Kind == GaugeKind {
			s.forget()
		}
	})
	return w.lines.Packets()
}

func (w *writer) write(s *Series) {
	line, ok := s.Cache.(*statsd.Series)
	if !ok {
		line = w.line(s)
		s.Cache = line
	}
	if s.Kind == HistogramKind {
		samples, weight := s.TakeSamples(w.samples[:0])
		w.lines.Samples(line, samples, weight)
		w.samples = samples
		return
	}
	value, ok := s.Take()
	switch {
	case !ok:
	case s.Kind == CounterKind:
		w.lines.Counter(line, value)
	default:
		w.lines.Gauge(line, value)
	}
}

func (w *writer) line(s *Series) *statsd.Series {
	tags := make([]statsd.Tag, len(s.Tags))
	for i, t := range s.Tags {
		tags[i] = statsd.Tag(t)
	}
	name, micros := s.Duration()
	if !micros {
		name = s.ID
	}
	if w.namespace != "" {
		name = w.namespace + "." + name
	}
	d := w.lines.Dialect
	return &statsd.Series{Head: d.Head(name, tags), Tail: d.Tail(tags), Micros: micros}
}
