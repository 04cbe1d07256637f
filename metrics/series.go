package metrics

import (
	"math"
	"strings"
	"sync/atomic"
	"time"
)

// Kind is what a series is.
type Kind uint8

// The kinds of metrics.
const (
	CounterKind Kind = iota
	GaugeKind
	HistogramKind
)

// String returns the kind in lower case.
func (k Kind) String() string {
	return [...]string{"counter", "gauge", "histogram"}[min(k, HistogramKind)]
}

// Series is one metric with one set of tags, as a plugin sees it in Collect.
// A plugin either takes (what changed since) or reads (totals), never both.
type Series struct {
	Kind Kind
	ID   string // cleaned
	Tags []Tag  // cleaned, sorted by name, with the fields of the store

	// Cache is for what a plugin derives from ID and Tags. Only a function
	// called by Collect may touch it.
	Cache any

	value   atomic.Int64
	gate    atomic.Int32 // whether updates are taken; beside the value for the cache line
	state   atomic.Int32 // of a gauge
	since   atomic.Int64 // unix nanoseconds
	touched atomic.Int64 // unix nanoseconds of the first update, or the first since a sweep
	dist    *distribution
	bare    bool // made by its id alone, perhaps only on the way to a tagged one
	rest    bool // the overflow series

	family *family
	given  []Tag  // the tags as they were first spelled, sorted by name
	hash   uint64 // of given
}

// States of a gauge.
const (
	unset int32 = iota
	set
	cleared // by Reset, and not sent yet
)

// States of a gate.
const (
	unasked int32 = iota // the plugin may have to be started, or the series was idle
	open
	closed
	gone // evicted
)

// enter returns the series that takes an update of s, whose gate is not open: nil
// after Stop, and possibly another series when s was evicted. The gate opens when the
// plugin was started.
func (s *Series) enter() *Series {
	for {
		use, gate := taken, s.gate.Load()
		if gate == open {
			return s
		}
		if gate == closed {
			use = refused
		} else if s.family.store.use != nil {
			use = s.family.store.use()
		}
		switch {
		case use == refused:
			s.family.store.late.Add(1)
			return nil
		case gate == gone:
			s = s.family.readmit(s)
		default:
			s.touched.Store(time.Now().UnixNano())
			if use == kept {
				return s
			}
			s.gate.CompareAndSwap(unasked, open) // unless Stop closed it, or a sweep evicted it
		}
	}
}

// Value returns a counter's total or a gauge's value; false when there is
// nothing to tell: a gauge that is not set, or a counter that was only asked
// for by its id and is still 0.
func (s *Series) Value() (int64, bool) {
	value := s.value.Load()
	if s.Kind == GaugeKind {
		return value, s.state.Load() == set
	}
	if value != 0 {
		s.bare = false // under Collect, as all reads of bare are
	}
	return value, !s.bare
}

// Take returns what a counter gained since the last Take, or a gauge's value;
// false when there is nothing to send.
func (s *Series) Take() (int64, bool) {
	if s.Kind != GaugeKind {
		value := s.value.Swap(0)
		return value, value != 0
	}
	if s.state.CompareAndSwap(cleared, unset) {
		return 0, true
	}
	return s.value.Load(), s.state.Load() == set
}

// Duration reports whether the series is a histogram of microseconds, and returns
// its ID without "_us".
func (s *Series) Duration() (name string, ok bool) {
	name, ok = strings.CutSuffix(s.ID, "_us")
	return name, ok && name != "" && s.Kind == HistogramKind
}

// Falls reports whether a counter of this id was ever decremented. Receivers take
// only a counter that never falls for a counter.
func (s *Series) Falls() bool { return s.family.falls.Load() }

// Since returns when the series began, or was last reset.
func (s *Series) Since() time.Time { return time.Unix(0, s.since.Load()) }

// TakeSamples appends a histogram's samples since the last TakeSamples to buf.
// Each stands for weight samples, a power of two.
func (s *Series) TakeSamples(buf []int64) (samples []int64, weight uint64) {
	return s.dist.take(buf)
}

// Samples is TakeSamples without taking.
func (s *Series) Samples(buf []int64) (samples []int64, weight uint64) {
	return s.dist.read(buf)
}

// Buckets returns the counts of a histogram of a store with Buckets: counts[i]
// is of the samples above bound i-1 up to bound i, the last above all bounds.
func (s *Series) Buckets() (bounds []int64, counts []uint64, count uint64, sum int64) {
	return s.dist.counts()
}

// forget ends the reporting of a gauge.
func (s *Series) forget() { s.state.Store(unset) }

func (s *Series) pending() bool {
	switch s.Kind {
	case GaugeKind:
		return s.state.Load() != unset
	case HistogramKind:
		return s.dist.pending()
	default:
		return s.value.Load() != 0
	}
}

type counter Series

func (c *counter) Incr(n uint64) {
	s := (*Series)(c)
	if s.gate.Load() != open {
		if s = s.enter(); s == nil {
			return
		}
	}
	s.value.Add(int64(min(n, math.MaxInt64)))
}

func (c *counter) Decr(n uint64) {
	s := (*Series)(c)
	if s.gate.Load() != open {
		if s = s.enter(); s == nil {
			return
		}
	}
	if !s.family.falls.Load() {
		s.family.falls.Store(true)
	}
	s.value.Add(-int64(min(n, math.MaxInt64)))
}

func (c *counter) Reset() {
	if c.gate.Load() == closed {
		return
	}
	c.value.Store(0)
	c.since.Store(time.Now().UnixNano())
}

func (c *counter) WithFields(f Fields) Counter { return (*counter)((*Series)(c).with(f)) }

type gauge Series

func (g *gauge) Set(value int64) {
	s := (*Series)(g)
	if s.gate.Load() != open {
		if s = s.enter(); s == nil {
			return
		}
	}
	s.value.Store(value)
	if s.state.Load() != set {
		s.state.Store(set)
	}
}

func (g *gauge) Reset() {
	if g.gate.Load() != closed && g.state.CompareAndSwap(set, cleared) {
		g.value.Store(0)
	}
}

func (g *gauge) WithFields(f Fields) Gauge { return (*gauge)((*Series)(g).with(f)) }

type histogram Series

func (h *histogram) Record(value int64) {
	s := (*Series)(h)
	if s.gate.Load() != open {
		if s = s.enter(); s == nil {
			return
		}
	}
	s.dist.record(value)
}

func (h *histogram) Reset() {
	if h.gate.Load() == closed {
		return
	}
	h.dist.reset()
	h.since.Store(time.Now().UnixNano())
}

func (h *histogram) WithFields(f Fields) Histogram { return (*histogram)((*Series)(h).with(f)) }
