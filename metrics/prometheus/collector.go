package prometheus

import (
	"strings"

	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/micro/go-platform/metrics"
)

// collector reads the store at each scrape.
type collector struct {
	store     *metrics.Store
	namespace string
	taken     map[string]owner // names in the exposition; used under Collect
}

// owner is the metric to which a name belongs.
type owner struct {
	kind metrics.Kind
	id   string
}

// line is what is kept per series.
type line struct {
	desc   *prom.Desc
	values []string
	unit   float64 // by which samples are divided
}

// collect writes the series as they are now.
func (c *collector) collect(out chan<- prom.Metric) {
	types := map[string]prom.ValueType{} // of counters by id: the same for all series of a scrape
	c.store.Collect(func(s *metrics.Series) {
		l, ok := s.Cache.(*line)
		if !ok {
			l = c.line(s)
			s.Cache = l
		}
		if m, ok := l.metric(s, types); ok {
			out <- m
		}
	})
}

func (c *collector) line(s *metrics.Series) *line {
	labels, values := make([]string, len(s.Tags)), make([]string, len(s.Tags))
	for i, t := range s.Tags {
		labels[i], values[i] = t.Name, t.Value
	}
	name := c.claim(s)
	l := &line{prom.NewDesc(name, s.Kind.String()+" "+s.ID, labels, nil), values, 1}
	if _, ok := s.Duration(); ok {
		l.unit = 1e6
	}
	return l
}

// conventional returns the name by Prometheus' conventions: a counter ends in
// _total, a duration in _seconds.
func conventional(s *metrics.Series) string {
	base, duration := s.Duration()
	switch {
	case duration:
		return base + "_seconds"
	case s.Kind == metrics.CounterKind && !strings.HasSuffix(s.ID, "_total"):
		return s.ID + "_total"
	}
	return s.ID
}

// claim finds a name that no metric of another kind has, nor one of the names
// that a histogram takes besides its own.
func (c *collector) claim(s *metrics.Series) string {
	me := owner{s.Kind, s.ID}
	name := c.namespace + conventional(s)
	if c.namespace == "" && name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	for !c.free(me, name) {
		name += "_" + s.Kind.String()
	}
	for _, n := range names(s.Kind, name) {
		c.taken[n] = me
	}
	return name
}

func (c *collector) free(me owner, name string) bool {
	for _, n := range names(me.kind, name) {
		if o, taken := c.taken[n]; taken && o != me {
			return false
		}
	}
	return true
}

func names(kind metrics.Kind, name string) []string {
	if kind == metrics.HistogramKind {
		return []string{name, name + "_bucket", name + "_sum", name + "_count"}
	}
	return []string{name}
}

// metric returns the series as it is now; false if there is nothing to tell.
func (l *line) metric(s *metrics.Series, types map[string]prom.ValueType) (prom.Metric, bool) {
	if s.Kind == metrics.HistogramKind {
		return l.histogram(s)
	}
	value, ok := s.Value()
	if !ok {
		return nil, false
	}
	kind := prom.GaugeValue
	if s.Kind == metrics.CounterKind {
		if types[s.ID] == 0 {
			types[s.ID] = prom.CounterValue
			if s.Falls() {
				types[s.ID] = prom.UntypedValue
			}
		}
		kind = types[s.ID]
	}
	m, err := prom.NewConstMetric(l.desc, kind, float64(value), l.values...)
	return orInvalid(l.desc, m, err), true
}

func (l *line) histogram(s *metrics.Series) (prom.Metric, bool) {
	bounds, counts, count, sum := s.Buckets()
	if count == 0 {
		return nil, false
	}
	buckets, below := make(map[float64]uint64, len(bounds)), uint64(0)
	for i, bound := range bounds {
		below += counts[i]
		buckets[float64(bound)/l.unit] = below
	}
	m, err := prom.NewConstHistogram(l.desc, count, float64(sum)/l.unit, buckets, l.values...)
	return orInvalid(l.desc, m, err), true
}

// orInvalid hands an error to the registry, which reports it to the scraper.
func orInvalid(desc *prom.Desc, m prom.Metric, err error) prom.Metric {
	if err != nil {
		return prom.NewInvalidMetric(desc, err)
	}
	return m
}
