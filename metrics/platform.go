package metrics

import (
	"errors"
	"slices"
	"sync"

	"github.com/micro/go-platform/internal/statsd"
)

// ErrStarted is returned by Init after Start.
var ErrStarted = errors.New("metrics: Init after Start")

// telegraf is the default plugin, and in other dialects metrics/statsd.
type telegraf struct {
	*Store
	dialect statsd.Dialect

	mu     sync.Mutex // guards what follows
	opts   Options
	bad    error          // of the constructor's options
	client *statsd.Client // from the first Start or Stop on
	ended  bool
}

// NewMetrics returns the default plugin: it aggregates in the process and sends
// to Telegraf's statsd input with InfluxDB tags, over UDP in datagrams of at
// most 1432 bytes, to all Collectors: "namespace.id,tag=value:N|c" (g, ms).
//
// Ids and fields keep what is printable; : | , = @ # \ quotes, white space,
// control characters and invalid UTF-8 become '_'. Ids are cut at 200 bytes,
// names of fields at 64, values at 128; fields of more than about 1000 bytes in
// all go to the overflow series.
//
// A bad option is reported by Start and Init. The plugin also has Dropped() and
// Overflowed(), both uint64: values that were not sent, and look-ups that ended
// in an overflow series.
func NewMetrics(opts ...Option) Metrics {
	t := &telegraf{}
	t.opts, t.bad = DefaultOptions().Apply(opts...)
	t.dialect = statsd.DialectOf(t.opts.Context)
	t.Store = NewStore(t.config(t.opts))
	return t
}

func (t *telegraf) config(o Options) StoreConfig {
	return StoreConfig{
		Fields:    o.Fields,
		MaxSeries: o.MaxSeries,
		Samples:   o.Samples,
		Clean:     cleaner(t.dialect),
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

// Init implements Metrics.
func (t *telegraf) Init(opts ...Option) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.client != nil {
		return ErrStarted
	}
	o, err := t.opts.Apply(opts...)
	if err == nil {
		err = t.Configure(t.config(o))
	}
	if err == nil {
		t.opts = o
	}
	return err
}

// Start implements Metrics.
func (t *telegraf) Start() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bad != nil {
		return t.bad
	}
	return t.sender().Start()
}

// Stop implements Metrics.
func (t *telegraf) Stop() error {
	t.mu.Lock()
	client := t.sender()
	t.mu.Unlock()
	err := client.Stop()
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	return err
}

// Dropped returns how many values were not sent, once per collector that
// misses them, and after Stop also the series that were updated in vain.
func (t *telegraf) Dropped() uint64 {
	t.mu.Lock()
	client, ended := t.client, t.ended
	t.mu.Unlock()
	switch {
	case client == nil:
		return 0
	case ended:
		return client.Dropped() + uint64(t.Pending())
	default:
		return client.Dropped()
	}
}

// String implements Metrics.
func (t *telegraf) String() string { return t.dialect.String() }

// sender returns the client, made of the options at its first use. The caller
// holds the mutex.
func (t *telegraf) sender() *statsd.Client {
	if t.client != nil {
		return t.client
	}
	o := t.opts
	if len(o.Collectors) == 0 {
		o.Collectors = []string{defaultCollector}
	}
	w := &writer{store: t.Store, namespace: o.Namespace, lines: statsd.Builder{Dialect: t.dialect}}
	t.client = statsd.New(statsd.Config{
		Collectors: slices.Compact(slices.Sorted(slices.Values(o.Collectors))),
		Interval:   o.BatchInterval,
		Logger:     o.Log(),
		Overflow:   t.Overflow(),
		Collect:    w.collect,
	})
	return t.client
}

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
	name := s.ID
	if w.namespace != "" {
		name = w.namespace + "." + name
	}
	d := w.lines.Dialect
	return &statsd.Series{Head: d.Head(name, tags), Tail: d.Tail(tags)}
}
