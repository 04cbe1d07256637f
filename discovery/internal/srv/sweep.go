package srv

import (
	"context"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
)

// When a lease is late, when it ends, and when many late ones are believed.
const (
	sweepInterval = 50 * time.Millisecond
	lateAfter     = 1.5 // intervals of silence
	endAfter      = 2.5 // so that a dead node is gone within three
	maxLatePart   = 15  // percent of all leases
	scaleInAfter  = 20  // intervals without one of the late ones returning
)

// preserve is self-preservation. When more than 15 percent of the leases are
// late at once, or heartbeats of that many are lost on the way, it is more
// likely the network that is ill than the nodes, and nothing expires. It ends
// when no more than that are late, or when for twenty intervals none of the
// late ones has come back: then they were taken away, which is what the
// expectation adapts to. A single late lease is always believed, so that small
// clusters lose their dead too.
type preserve struct {
	preserving bool
	calm       time.Time // since when no late lease came back
	late       int
	most       int // late ones while preserving
	expired    uint64
	swept      time.Time
}

// limit is how long the lease lasts without a heartbeat.
func (l *lease) limit() time.Duration {
	if l.interval == 0 {
		return l.ttl
	}
	return min(time.Duration(endAfter*float64(l.interval)), l.ttl)
}

// pace is what the lease's heartbeats are measured by.
func (l *lease) pace() time.Duration {
	if l.interval == 0 {
		return time.Duration(float64(l.ttl) / endAfter)
	}
	return l.interval
}

func (l *lease) isLate(now time.Time) bool {
	return now.Sub(l.renewed) > time.Duration(lateAfter*float64(l.pace()))
}

// back is called when a lease is heard of again.
func (s *state) back(l *lease, now time.Time) {
	if s.preserving && l.isLate(now) {
		s.calm = now
	}
}

// sweep ends the leases that missed their heartbeats.
func (s *state) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause(now)
	s.swept = now
	var ended []*lease
	all, lossy, longest := 0, 0.0, time.Duration(0)
	s.late = 0
	for _, l := range s.leases {
		all++
		lossy += l.loss
		if l.isLate(now) {
			s.late++
			longest = max(longest, l.pace())
		}
		if now.Sub(l.renewed) > l.limit() {
			ended = append(ended, l)
		}
	}
	if s.preserved(all, lossy, longest, now) {
		return
	}
	for _, l := range ended {
		s.expired++
		s.bury(l, l.beat, true, now)
		s.gone(l)
	}
	s.prune(now, keepGraves)
}

// pause keeps a process that was stopped for a while from believing that
// everybody else was. It comes before the first heartbeat that is taken after a
// stop too, which would else count those that nobody could take as lost.
func (s *state) pause(now time.Time) {
	if gap := now.Sub(s.swept); !s.swept.IsZero() && gap > time.Second {
		for _, l := range s.leases {
			l.renewed = l.renewed.Add(gap)
		}
		s.swept = now
	}
}

// preserved reports whether nothing may expire now.
func (s *state) preserved(all int, lossy float64, longest time.Duration, now time.Time) bool {
	many := s.late > max(1, all*maxLatePart/100) || s.late > 0 && lossy*100 > float64(all*maxLatePart)
	switch {
	case !many:
		if s.preserving {
			s.log.Info("heartbeats are back: leases expire again", "leases", all)
		}
		s.preserving = false
	case !s.preserving:
		s.preserving, s.calm, s.most = true, now, s.late
		s.log.Warn("too many heartbeats are missing: nothing expires", "late", s.late, "leases", all)
	case s.late > s.most:
		s.calm, s.most = now, s.late
	case now.Sub(s.calm) > scaleInAfter*longest:
		s.log.Info("none of the late ones came back: they were taken away", "late", s.late, "leases", all)
		s.preserving = false
	}
	return s.preserving
}

// sweeps is the loop.
func (s *state) sweeps(ctx context.Context, judge func(now time.Time) bool) {
	lifecycle.Every(ctx, sweepInterval, func() {
		if now := time.Now(); judge(now) {
			s.sweep(now)
		}
	})
}

// renewGrace is how long after the return of auth-srv all that waited for it
// have new tokens: plugins of auth try every ten seconds.
const renewGrace = 15 * time.Second

// judging reports whether missed heartbeats count. They do not while auth-srv is
// out of reach: heartbeats are refused as tokens run out, and all nodes of a
// platform would seem to die one after the other.
type judging struct {
	callers func() bool // may have new tokens
	judges  func() bool
	state   *state
	held    time.Time // since when they do not; zero: they do
	told    bool
}

// tellAfter is what a plugin of auth takes to connect, and more.
const tellAfter = 2 * time.Second

func (j *judging) now(now time.Time) bool {
	if !j.callers() {
		if j.held.IsZero() {
			j.held = now
		}
		if !j.told && now.Sub(j.held) > tellAfter {
			j.told = true
			j.state.log.Warn("auth-srv is out of reach, heartbeats may be refused: nothing expires")
		}
		return false
	}
	if !j.held.IsZero() {
		j.state.grant(now, renewGrace)
	}
	if j.told {
		j.state.log.Info("auth-srv is back: leases expire again")
	}
	j.held, j.told = time.Time{}, false
	return j.judges()
}

// grant gives every lease a new term, a while longer than usual: nobody could be
// heard of.
func (s *state) grant(now time.Time, longer time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.leases {
		l.renewed = now.Add(longer)
	}
	s.swept = now
}
