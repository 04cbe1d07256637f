package router

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"golang.org/x/time/rate"

	pb "github.com/micro/go-platform/router/proto"
)

// adaptive is a limit of calls at a time that follows their latency: failsafe-go's
// limiter, a kin of TCP Vegas and of Netflix's concurrency-limits. It was chosen
// over the latter's Gradient2 because that one takes a queue that lasts for the
// new usual and grows without end; failsafe-go's sees that throughput no longer
// rises with concurrency.
type adaptive = adaptivelimiter.AdaptiveLimiter[any]

// What an adaptive limit begins with and its bounds.
const (
	adaptiveFirst  = 20
	adaptiveLeast  = 4
	adaptiveWindow = 250 * time.Millisecond
)

func newAdaptive(most int) adaptive {
	return adaptivelimiter.NewBuilder[any]().
		WithLimits(uint(min(adaptiveLeast, most)), uint(most), uint(min(adaptiveFirst, most))).
		WithRecentWindow(adaptiveWindow, 30*time.Second, 50).
		Build()
}

// limits are those of the calls of one service.
type limits struct {
	own     *rate.Limiter                // nil: none
	shared  atomic.Pointer[rate.Limiter] // of router-srv, nil: none
	most    atomic.Pointer[slots]        // of router-srv, nil: none
	latency adaptive                     // nil: none
	any     atomic.Bool                  // there is one
	refused atomic.Int64                 // calls, since the start
}

func (l *limits) init(s Options, service string) {
	r, ok := s.ClientRates[service]
	if !ok {
		r, ok = s.ClientRates[""]
	}
	if ok {
		l.own = rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst)
	}
	if s.ClientConcurrency > 0 {
		l.latency = newAdaptive(s.ClientConcurrency)
	}
	l.any.Store(l.own != nil || l.latency != nil)
}

// share applies the caller's part of the central limits.
func (l *limits) share(s *pb.Share) {
	perSecond, most := s.GetRequestsPerSecond(), s.GetConcurrency()
	switch old := l.shared.Load(); {
	case perSecond <= 0:
		l.shared.Store(nil)
	case old == nil:
		l.shared.Store(rate.NewLimiter(rate.Limit(perSecond), burst(perSecond)))
	case old.Limit() != rate.Limit(perSecond):
		old.SetLimit(rate.Limit(perSecond))
		old.SetBurst(burst(perSecond))
	}
	switch old := l.most.Load(); {
	case most <= 0:
		l.most.Store(nil)
	case old == nil:
		fresh := &slots{}
		fresh.most.Store(math.Float64bits(most))
		l.most.Store(fresh)
	default:
		old.most.Store(math.Float64bits(most))
	}
	l.any.Store(l.own != nil || l.latency != nil || perSecond > 0 || most > 0)
}

// burst is a second's worth, at least one call.
func burst(perSecond float64) int { return max(1, int(perSecond)) }

// permit is what a call was let in with.
type permit struct {
	slots   *slots
	latency adaptivelimiter.Permit
	begun   int64
}

// admit reports whether a call may begin now.
func (l *limits) admit(now int64) (permit, bool) {
	var got permit
	got.begun = now
	if most := l.most.Load(); most != nil {
		if !most.acquire(now) {
			return l.refuse(got)
		}
		got.slots = most
	}
	if l.latency != nil {
		p, ok := l.latency.TryAcquirePermit()
		if !ok {
			return l.refuse(got)
		}
		got.latency = p
	}
	if l.own != nil && !l.own.Allow() {
		return l.refuse(got)
	}
	if shared := l.shared.Load(); shared != nil && !shared.Allow() {
		return l.refuse(got)
	}
	return got, true
}

// rates is admit for what has no end worth waiting for.
func (l *limits) rates() bool {
	shared := l.shared.Load()
	if l.own != nil && !l.own.Allow() || shared != nil && !shared.Allow() {
		l.refused.Add(1)
		return false
	}
	return true
}

func (l *limits) refuse(got permit) (permit, bool) {
	l.refused.Add(1)
	got.release(got.begun, false)
	return permit{}, false
}

// release ends a call; telling says that its duration means something.
func (g permit) release(now int64, telling bool) {
	if g.slots != nil {
		g.slots.release(now, now-g.begun)
	}
	finish(g.latency, telling)
}

// finish ends a call under an adaptive limit; telling says that its duration
// means something.
func finish(p adaptivelimiter.Permit, telling bool) {
	switch {
	case p == nil:
	case telling:
		p.Record()
	default:
		p.Drop()
	}
}

// slots is a fixed number of calls at a time. With less than one, one call at a
// time has it and then leaves it alone for the rest.
type slots struct {
	most  atomic.Uint64 // float64
	taken atomic.Int64
	free  atomic.Int64 // not before, with less than one
}

func (s *slots) acquire(now int64) bool {
	most := math.Float64frombits(s.most.Load())
	if most < 1 && now < s.free.Load() {
		return false
	}
	if float64(s.taken.Add(1)) > max(most, 1) {
		s.taken.Add(-1)
		return false
	}
	return true
}

func (s *slots) release(now, took int64) {
	if most := math.Float64frombits(s.most.Load()); most < 1 {
		s.free.Store(now + int64(float64(took)*(1/most-1)))
	}
	s.taken.Add(-1)
}
