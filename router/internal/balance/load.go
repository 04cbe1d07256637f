package balance

import (
	"math"
	"sync/atomic"
	"time"
)

// Load is what is known of one node. It outlives the tables that hold the node.
// The first part is written by every call without a lock; the second belongs to
// the pool's mutex.
type Load struct {
	latency atomic.Uint64 // float32 of nanoseconds << 32 | stamp
	flight  atomic.Uint64 // outcomes already told << 32 | calls in flight
	window  atomic.Uint64 // failures << 32 | calls, since the last tick
	streak  atomic.Uint32 // failures in a row
	slope   atomic.Uint32 // float32: the price of failing, 1 and more
	refused atomic.Uint32 // since the last tick
	phase   atomic.Uint32 // closed, open, halfOpen
	probing atomic.Int64  // when the probe under way began, 0: none
	area    atomic.Int64  // of calls in flight over time, see littlesLaw
	marks   atomic.Uint32 // calls that ended without a measured latency, since the last tick
	first   atomic.Int64  // when the first answer came
	streams atomic.Int32
	Extra   any      // of the pool's user, see Config
	_       [64]byte // the next load's words are not in this cache line

	outlier
}

// The phases of a node's circuit breaker.
const (
	closed uint32 = iota
	open
	halfOpen
)

func (p *Pool) newLoad() *Load {
	l := &Load{}
	if p.conf.Extra != nil {
		l.Extra = p.conf.Extra()
	}
	l.slope.Store(math.Float32bits(1))
	l.success = 1
	return l
}

// stampUnit is 65.536 µs in nanoseconds, so that 32 bits of it wrap after 78
// hours; tick stamps anew long before.
const stampUnit = 16 // bits

func pack(latency float32, now int64) uint64 {
	return uint64(math.Float32bits(latency))<<32 | uint64(uint32(now>>stampUnit))
}

func unpack(v uint64) (latency float32, stamp uint32) {
	return math.Float32frombits(uint32(v >> 32)), uint32(v)
}

// elapsed is the time since a stamp in nanoseconds.
func elapsed(now int64, stamp uint32) float64 {
	return float64(uint32(now>>stampUnit)-stamp) * (1 << stampUnit)
}

// remaining is what is left of a peak since the stamp.
func remaining(now int64, stamp uint32, decay time.Duration) float32 {
	x := elapsed(now, stamp) / float64(decay)
	if x < 0.01 {
		return float32(1 - x) // as good, and cheaper
	}
	return float32(math.Exp(-x))
}

// evidence is the least part of a lower latency that counts, so that a peak is
// forgotten after some hundred calls even when they come at once.
const evidence = 1.0 / 64

// answered adds the latency of a call that was answered now. One that began
// before the node's first answer took as long as it takes to connect.
func (l *Load) answered(now int64, d time.Duration, decay time.Duration) {
	switch first := l.first.Load(); {
	case first == 0:
		l.first.CompareAndSwap(0, now)
	case now-int64(d) >= first:
		l.observe(now, d, decay)
	}
}

// observe adds a latency: a higher one counts at once, a lower one by how long
// it is since the last.
func (l *Load) observe(now int64, d time.Duration, decay time.Duration) {
	fresh := float32(max(d, 1))
	for {
		old := l.latency.Load()
		latency, stamp := unpack(old)
		if fresh < latency {
			w := min(remaining(now, stamp, decay), 1-evidence)
			latency = latency*w + fresh*(1-w)
		} else {
			latency = fresh
		}
		if l.latency.CompareAndSwap(old, pack(latency, now)) {
			return
		}
	}
}

// fade lets the latency of a node that is not called go down, so that it is
// tried again some day.
func (l *Load) fade(now int64, decay time.Duration) {
	old := l.latency.Load()
	latency, stamp := unpack(old)
	if latency == 0 || elapsed(now, stamp) < float64(idleAfter) {
		return
	}
	w := remaining(now, stamp, decay)
	// A call that got in between is worth more.
	l.latency.CompareAndSwap(old, pack(max(latency*w, 1), now))
}

// idleAfter is when a node counts as not called.
const idleAfter = 100 * time.Millisecond

// InFlight returns the calls under way.
func (l *Load) InFlight() int { return int(uint32(l.flight.Load())) }

// Streak returns how many calls failed in a row.
func (l *Load) Streak() int { return int(l.streak.Load()) }

// cost is what a call to the node is expected to cost. Typical stands in for a
// latency that nobody knows yet.
func (l *Load) cost(typical float32) float32 {
	latency, _ := unpack(l.latency.Load())
	if latency == 0 {
		latency = typical
	}
	price := math.Float32frombits(l.slope.Load()) * float32(1+l.streak.Load())
	return latency * float32(uint32(l.flight.Load())+1) * price
}

// connections is the cost for LeastConnections.
func (l *Load) connections() float32 {
	price := math.Float32frombits(l.slope.Load()) * float32(1+l.streak.Load())
	return float32(uint32(l.flight.Load())+uint32(max(l.streams.Load(), 0))+1) * price
}

// begin notes that a call is under way. Without now (0) its latency will be
// told.
func (l *Load) begin(now int64) {
	l.flight.Add(1)
	if now != 0 {
		l.area.Add(-now)
	}
}

// told notes that the outcome of a call that is still in flight is known.
func (l *Load) told() { l.flight.Add(1 << 32) }

// end notes that a call is over. It returns true when its outcome was told
// before.
func (l *Load) end(now int64) (told bool) {
	for {
		old := l.flight.Load()
		fresh := old
		if told = old>>32 > 0; told {
			fresh -= 1 << 32
		}
		begun := uint32(old) > 0
		if begun {
			fresh--
		}
		if l.flight.CompareAndSwap(old, fresh) {
			if now != 0 && begun {
				l.area.Add(now)
				l.marks.Add(1)
			}
			return told
		}
	}
}

// littlesLaw returns the mean latency since the last tick of calls whose latency
// nobody measured: the area under the calls in flight by the calls that ended.
// The sum of all ends less that of all beginnings is that area but for the
// calls still in flight, which count up to now.
func (l *Load) littlesLaw(now int64) (mean time.Duration, known bool) {
	area := l.area.Load() + int64(uint32(l.flight.Load()))*now
	grown := area - l.lastArea
	l.lastArea = area
	n := l.marks.Swap(0)
	if n == 0 || grown <= 0 {
		return 0, false
	}
	return time.Duration(grown / int64(n)), true
}
