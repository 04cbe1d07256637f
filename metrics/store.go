package metrics

import (
	"fmt"
	"hash/maphash"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/micro/go-platform/internal/loss"
)

const (
	// OverflowField is the one field, with the value "true", of the series
	// that collects what exceeds MaxSeries.
	OverflowField = "overflow"
	// overflowID takes the updates of ids beyond maxIDs.
	overflowID = "overflow"
	// maxIDs bounds the distinct ids of a plugin: an id should be a constant of
	// the program, but may be made of input.
	maxIDs = 10_000
	// maxRaw bounds the bytes that a look-up may keep of a caller's spelling.
	maxRaw = 1024
)

// Tag is one field of a series.
type Tag struct{ Name, Value string }

// StoreConfig says how a Store keeps its series.
type StoreConfig struct {
	Fields    Fields        // of every series
	MaxSeries int           // of one id and kind, default 1000
	Idle      time.Duration // after which a series of a full id is evicted, default 10 minutes
	Samples   int           // samples a histogram keeps between two Takes; ignored with Buckets
	Buckets   []int64       // upper bounds, ascending: histograms count instead of keeping samples

	// Clean makes an id and its tags fit for the wire; false sends the update
	// to the overflow series. It may change tags, must give the same for what
	// it gave, and must be safe for concurrent use. Nil leaves all as it is.
	Clean func(id string, tags []Tag) (string, []Tag, bool)
}

// Store is the core that all plugins of this package share: it keeps the series,
// aggregates, and bounds memory. A plugin embeds it for the methods Counter, Gauge
// and Histogram, and calls Collect to read or take what was gathered.
type Store struct {
	conf     StoreConfig
	seed     maphash.Seed
	overflow loss.Counter
	late     loss.Counter // updates after Stop, and those kept that never were sent
	use      func() usage // what becomes of updates; if nil they are taken
	ids      table[named]

	mu       sync.Mutex // guards conf until the first use, and growth
	families map[metric]*family
	all      []*Series
	collect  sync.Mutex
	swept    time.Time // by Collect
	told     uint64    // by ReportOverflow
}

// usage is what becomes of an update.
type usage int

const (
	taken   usage = iota
	kept          // until the plugin can start
	refused       // the plugin was stopped
)

// named is a caller's spelling of an id.
type named struct {
	metric
	family *family
}

type metric struct {
	kind Kind
	id   string
}

// NewStore returns an empty store.
func NewStore(conf StoreConfig) *Store {
	return &Store{conf: conf.filled(), seed: maphash.MakeSeed(), families: map[metric]*family{}}
}

// Configure replaces the configuration. Once metrics were handed out it returns
// an error that names what would change, and changes nothing.
func (s *Store) Configure(conf StoreConfig) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	conf = conf.filled()
	if len(s.families) > 0 {
		return s.conf.same(conf)
	}
	s.conf = conf
	return nil
}

func (c StoreConfig) same(next StoreConfig) error {
	for _, o := range []struct {
		name string
		same bool
	}{
		{"WithFields", maps.Equal(c.Fields, next.Fields)},
		{"MaxSeries", c.MaxSeries == next.MaxSeries},
		{"Samples", c.Samples == next.Samples},
		{"Buckets", slices.Equal(c.Buckets, next.Buckets)},
	} {
		if !o.same {
			return fmt.Errorf("metrics: %s: cannot change, metrics were handed out already", o.name)
		}
	}
	return nil
}

// filled returns c with its defaults.
func (c StoreConfig) filled() StoreConfig {
	if c.MaxSeries <= 0 {
		c.MaxSeries = defaultMaxSeries
	}
	if c.Samples <= 0 {
		c.Samples = defaultSamples
	}
	if c.Idle <= 0 {
		c.Idle = defaultIdle
	}
	if c.Clean == nil {
		c.Clean = func(id string, tags []Tag) (string, []Tag, bool) { return id, tags, true }
	}
	return c
}

// Counter implements Metrics.
func (s *Store) Counter(id string) Counter { return (*counter)(s.root(CounterKind, id)) }

// Gauge implements Metrics.
func (s *Store) Gauge(id string) Gauge { return (*gauge)(s.root(GaugeKind, id)) }

// Histogram implements Metrics.
func (s *Store) Histogram(id string) Histogram { return (*histogram)(s.root(HistogramKind, id)) }

// Dropped returns how many updates came after Stop, and how many values a plugin kept
// that never could start.
func (s *Store) Dropped() uint64 { return s.late.Total() }

// shut makes all series refuse updates. Series that are made afterwards call use
// first.
func (s *Store) shut() {
	s.Collect(func(series *Series) { series.gate.Store(closed) })
}

// Overflowed returns how often a look-up ended at an overflow series.
func (s *Store) Overflowed() uint64 { return s.overflow.Total() }

// ReportOverflow logs when look-ups begin to end at an overflow series, and when
// they no longer do. A plugin calls it at a steady interval, from one goroutine.
func (s *Store) ReportOverflow(l *slog.Logger) {
	why := ""
	if n := s.overflow.Total(); n != s.told {
		s.told, why = n, s.crowd()
	}
	s.overflow.Report(l, "fields of metrics", why)
}

// Collect calls fn for each series, in the order in which they appeared. One
// Collect runs at a time; meanwhile the series are updated further.
func (s *Store) Collect(fn func(*Series)) {
	s.collect.Lock()
	defer s.collect.Unlock()
	s.mu.Lock()
	all := s.all // appended to, or replaced
	s.mu.Unlock()
	for _, series := range all {
		fn(series)
	}
	s.sweep(time.Now())
}

// Pending returns how many series hold something that was not taken.
func (s *Store) Pending() int {
	n := 0
	s.Collect(func(series *Series) {
		if series.pending() {
			n++
		}
	})
	return n
}

// root returns the series of an id without further fields.
func (s *Store) root(kind Kind, id string) *Series {
	hash := maphash.String(s.seed, id) + uint64(kind)
	for n := s.ids.find(hash); n != nil; n = n.next {
		if n.hash == hash && n.value.kind == kind && n.value.id == id {
			return n.value.family.root
		}
	}
	return s.addID(kind, id, hash).root
}

func (s *Store) addID(kind Kind, id string, hash uint64) *family {
	s.mu.Lock()
	defer s.mu.Unlock()
	clean, _, ok := s.conf.Clean(id, nil)
	if !ok {
		clean = overflowID
	}
	f := s.family(metric{kind, clean})
	if len(id) <= maxRaw && s.ids.count < 2*maxIDs {
		s.ids.add(hash, named{metric{kind, strings.Clone(id)}, f})
	}
	return f
}

// family returns the family with a cleaned id. The caller holds the mutex.
func (s *Store) family(m metric) *family {
	if f := s.families[m]; f != nil {
		return f
	}
	if len(s.families) >= maxIDs {
		s.overflow.Add(1)
		m.id = overflowID
		if f := s.families[m]; f != nil {
			return f
		}
	}
	m.id = strings.Clone(m.id)
	f := newFamily(s, m)
	s.families[m] = f
	return f
}

// sorted returns f as tags, without the empty ones.
func sorted(f Fields) []Tag {
	tags := make([]Tag, 0, len(f))
	for name, value := range f {
		if name != "" && value != "" {
			tags = append(tags, Tag{name, value})
		}
	}
	return sortTags(tags)
}

// sortTags sorts by name and keeps the first of each name.
func sortTags(tags []Tag) []Tag {
	slices.SortStableFunc(tags, func(a, b Tag) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(tags, func(a, b Tag) bool { return a.Name == b.Name })
}
