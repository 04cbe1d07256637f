package metrics

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// maxVec bounds what a Vec remembers. Values beyond it are looked up in the
// plugin each time: slower, and still right.
const maxVec = 2 * defaultMaxSeries

// Vec looks up the metrics of one id by the values of fixed fields, without
// allocating and without a map: the way to count by fields whose values are
// only known at the call.
//
//	calls := metrics.NewCounterVec(m, "calls", "service", "method")
//	calls.With("orders", "Orders.Create").Incr(1)
//
// It works with every plugin and is safe for concurrent use.
type Vec[T any] struct {
	names []string
	make  func(Fields) T
	seed  maphash.Seed
	known table[valued[T]]
	mu    sync.Mutex
	// front finds the first that came to each place by a look at a few bytes,
	// which saves the hash of all: half of the cost.
	front [256]atomic.Pointer[valued[T]]
}

type valued[T any] struct {
	values []string
	metric T
}

// NewCounterVec returns a Vec of counters.
func NewCounterVec(m Metrics, id string, names ...string) *Vec[Counter] {
	return newVec(names, m.Counter(id).WithFields)
}

// NewGaugeVec returns a Vec of gauges.
func NewGaugeVec(m Metrics, id string, names ...string) *Vec[Gauge] {
	return newVec(names, m.Gauge(id).WithFields)
}

// NewHistogramVec returns a Vec of histograms.
func NewHistogramVec(m Metrics, id string, names ...string) *Vec[Histogram] {
	return newVec(names, m.Histogram(id).WithFields)
}

func newVec[T any](names []string, build func(Fields) T) *Vec[T] {
	return &Vec[T]{names: slices.Clone(names), make: build, seed: maphash.MakeSeed()}
}

// With returns the metric whose fields have these values, in the order of the
// names. Missing values are empty, which leaves the field out; surplus ones are
// ignored.
func (v *Vec[T]) With(values ...string) T {
	if len(values) > len(v.names) {
		values = values[:len(v.names)]
	}
	place := &v.front[glance(values)]
	if first := place.Load(); first != nil && slices.Equal(first.values, values) {
		return first.metric
	}
	var hash uint64
	for i := range values {
		hash = hash*0x9e3779b97f4a7c15 + maphash.String(v.seed, values[i])
	}
	for n := v.known.find(hash); n != nil; n = n.next {
		if n.hash == hash && slices.Equal(n.value.values, values) {
			if place.Load() == nil {
				place.CompareAndSwap(nil, &n.value)
			}
			return n.value.metric
		}
	}
	return v.add(hash, values)
}

// glance hashes the length and three bytes of each value.
func glance(values []string) uint8 {
	var h uint32
	for _, s := range values {
		n := len(s)
		if n > 0 {
			h += uint32(s[0]) + uint32(s[n/2])<<8 + uint32(s[n-1])<<16
		}
		h = (h ^ uint32(n)) * 0x9e3779b1
	}
	return uint8(h >> 24)
}

// add asks the plugin, and remembers its answer while there is room.
func (v *Vec[T]) add(hash uint64, values []string) T {
	fields, bytes := make(Fields, len(values)), 0
	for i := range values {
		fields[v.names[i]] = values[i]
		bytes += len(values[i])
	}
	metric := v.make(fields)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known.count >= maxVec || bytes > maxRaw {
		return metric
	}
	own := make([]string, len(values))
	for i := range values {
		own[i] = strings.Clone(values[i])
	}
	v.known.add(hash, valued[T]{own, metric})
	return metric
}
