// Package gradient limits how many calls are under way at a time by what their
// latency tells: the Gradient2 algorithm of Netflix's concurrency-limits
// (com.netflix.concurrency.limits.limit.Gradient2Limit). The limit shrinks by
// the ratio of the long-term latency to that of now and grows by room for a
// queue while calls make use of it.
package gradient

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds and constants, most of them Netflix's.
const (
	DefaultInitial = 20
	DefaultMin     = 4
	DefaultMax     = 1000

	tolerance  = 1.5 // how much slower than usual is still usual
	smoothing  = 0.2 // of the limit from window to window
	longWindow = 600 // windows the usual latency is averaged over
	warmup     = 10  // windows after which the average is trusted
	minWindow  = 100 * time.Millisecond
	minSamples = 10
)

// Limiter is an adaptive limit. All methods are safe for concurrent use; none
// locks but once per window.
type Limiter struct {
	min, max int64
	limit    atomic.Int64
	inFlight atomic.Int64

	sum   atomic.Int64 // of latencies in the window
	count atomic.Int64
	peak  atomic.Int64 // of calls in flight in the window
	ends  atomic.Int64 // when the window does, on the caller's clock

	mu      sync.Mutex
	exact   float64 // the limit
	usual   float64 // latency
	windows int
}

// New returns a limiter between least and most calls at a time.
func New(least, most int) *Limiter {
	l := &Limiter{min: int64(max(least, 1)), max: int64(max(most, least, 1))}
	l.exact = float64(min(max(DefaultInitial, l.min), l.max))
	l.limit.Store(int64(l.exact))
	return l
}

// Limit returns how many calls may be under way now.
func (l *Limiter) Limit() int { return int(l.limit.Load()) }

// InFlight returns how many are.
func (l *Limiter) InFlight() int { return int(l.inFlight.Load()) }

// Acquire tells whether one more call may begin; Release ends it.
func (l *Limiter) Acquire() bool {
	n := l.inFlight.Add(1)
	if n > l.limit.Load() {
		l.inFlight.Add(-1)
		return false
	}
	if n > l.peak.Load() {
		l.peak.Store(n) // one of several that come together is as good
	}
	return true
}

// Release ends a call that took d until now, a monotonic clock in nanoseconds.
// Those that say nothing about load, refused ones say, have d 0.
func (l *Limiter) Release(now int64, d time.Duration) {
	l.inFlight.Add(-1)
	if d <= 0 {
		return
	}
	l.sum.Add(int64(d))
	n := l.count.Add(1)
	ends := l.ends.Load()
	if now < ends || n < minSamples {
		return
	}
	if l.ends.CompareAndSwap(ends, now+int64(minWindow)) && ends != 0 {
		l.update()
	}
}

// update moves the limit at the end of a window.
func (l *Limiter) update() {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.count.Swap(0)
	sum, peak := l.sum.Swap(0), l.peak.Swap(l.inFlight.Load())
	if n == 0 {
		return
	}
	now := float64(sum) / float64(n)
	l.learn(now)
	if float64(peak) < l.exact/2 {
		return // the callers ask for less than they may
	}
	slope := max(0.5, min(1, tolerance*l.usual/now))
	wanted := l.exact*slope + math.Sqrt(l.exact)
	l.exact = l.exact*(1-smoothing) + wanted*smoothing
	l.exact = max(float64(l.min), min(float64(l.max), l.exact))
	l.limit.Store(int64(l.exact))
}

// learn moves the usual latency. One that is far above what is seen now comes
// from bad times and is forgotten faster.
func (l *Limiter) learn(now float64) {
	l.windows++
	if l.windows <= warmup {
		l.usual += (now - l.usual) / float64(l.windows)
	} else {
		l.usual += (now - l.usual) * 2 / (longWindow + 1)
	}
	if l.usual/now > 2 {
		l.usual *= 0.95
	}
}
