package router

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"

	pb "github.com/micro/go-platform/router/proto"
)

// buckets is how many a histogram has: four per power of two of microseconds,
// see Metrics in router.proto.
const buckets = 128

// histogram counts durations. It only grows: windows are differences.
type histogram struct {
	sum     atomic.Uint64 // µs
	squares atomic.Uint64 // of 8 µs
	highest atomic.Uint64 // µs, of this window
	counts  [buckets]atomic.Uint32
}

// counted is a histogram at one moment, or the difference of two.
type counted struct {
	sum, squares, highest uint64
	counts                [buckets]uint32
}

func (h *histogram) add(d time.Duration) {
	us := uint64(max(d, 0) / time.Microsecond)
	h.counts[bucket(us)].Add(1)
	h.sum.Add(us)
	h.squares.Add((us / 8) * (us / 8))
	if us > h.highest.Load() {
		h.highest.Store(us) // a race loses one of two maxima of the same moment
	}
}

func bucket(us uint64) int {
	if us < 4 {
		return int(us)
	}
	e := bits.Len64(us) - 3
	return min(4*e+int(us>>e), buckets-1)
}

// limit returns the lowest duration above bucket i, in µs.
func limit(i int) float64 {
	if i < 4 {
		return float64(i + 1)
	}
	e := i/4 - 1
	return float64(uint64(i-4*e+1) << e)
}

func (h *histogram) now() (c counted) {
	c.sum, c.squares, c.highest = h.sum.Load(), h.squares.Load(), h.highest.Load()
	for i := range h.counts {
		c.counts[i] = h.counts[i].Load()
	}
	return c
}

func (c *counted) less(old *counted) counted {
	d := counted{sum: c.sum - old.sum, squares: c.squares - old.squares, highest: c.highest}
	for i := range c.counts {
		d.counts[i] = c.counts[i] - old.counts[i]
	}
	return d
}

// Metrics are durations in milliseconds.
type Metrics struct {
	Count                                int64
	Mean, StdDev, P50, Upper95, P99, Max float64
}

func (c *counted) total() (n int64) {
	for _, k := range c.counts {
		n += int64(k)
	}
	return n
}

func (c *counted) metrics() Metrics {
	n := c.total()
	if n == 0 {
		return Metrics{}
	}
	mean := float64(c.sum) / float64(n)
	variance := max(float64(c.squares)*64/float64(n)-mean*mean, 0)
	m := Metrics{Count: n, Mean: mean / 1000, StdDev: math.Sqrt(variance) / 1000, Max: float64(c.highest) / 1000}
	m.P50, m.Upper95, m.P99 = c.quantile(n, 0.5), c.quantile(n, 0.95), c.quantile(n, 0.99)
	return m
}

func (c *counted) quantile(n int64, q float64) float64 {
	rank := int64(math.Ceil(q * float64(n)))
	for i, k := range c.counts {
		if rank -= int64(k); rank <= 0 {
			return min(limit(i), float64(max(c.highest, 1))) / 1000
		}
	}
	return float64(c.highest) / 1000
}

func (c *counted) wire() *pb.Metrics {
	m := c.metrics()
	if m.Count == 0 {
		return nil
	}
	w := &pb.Metrics{Count: m.Count, Mean: m.Mean, StdDev: m.StdDev, P50: m.P50, Upper95: m.Upper95, P99: m.P99, Max: m.Max}
	last := 0
	for i, k := range c.counts {
		if k > 0 {
			last = i + 1
		}
	}
	w.Buckets = append(w.Buckets, c.counts[:last]...)
	return w
}
