package balance

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// outlier is the part of a Load that decides whether the node takes part. It
// belongs to the pool's mutex.
type outlier struct {
	success   float64 // of calls, recent ones counting more
	calls     float64 // in the last seconds, for statistics
	fails     float64
	lastArea  int64
	lastMark  int64 // when a call ended last, as far as ticks see
	until     int64 // when open: the end of the ejection
	since     int64 // of the phase
	times     int   // ejections lately
	unreached bool
	reason    string
	wins      int // in a row, while not closed
	gone      int64
}

// What the statistics need: see judge.
const (
	statsWindow = 5 * time.Second // time constant of calls and fails
	minCalls    = 20
	minMargin   = 0.15 // of success below the others' mean
	deviations  = 1.9  // likewise, as Envoy's default
	wantedWins  = 3    // of a half-open node
	probeLost   = 10 * time.Second
	leakedAfter = time.Minute // calls in flight whose end nobody told
)

// count takes the window of a load into its statistics.
func (l *Load) count(now int64, dt time.Duration, p *Pool) {
	w := l.window.Swap(0)
	n, failed := float64(uint32(w)), float64(w>>32)
	bad := min(failed+float64(l.refused.Swap(0)), n)
	keep := math.Exp(-float64(dt) / float64(statsWindow))
	l.calls, l.fails = l.calls*keep+n, l.fails*keep+failed
	if n > 0 {
		fast := math.Exp(-float64(dt) / float64(2*time.Second))
		l.success = l.success*fast + (1-bad/n)*(1-fast)
	} else {
		slow := math.Exp(-float64(dt) / float64(p.conf.Decay))
		l.success = 1 - (1-l.success)*slow
	}
	s := max(l.success, 0.05)
	l.slope.Store(math.Float32bits(float32(1 / (s * s))))
	if mean, ok := l.littlesLaw(now); ok {
		l.observe(now, mean, p.conf.Decay)
	} else {
		l.fade(now, p.conf.Decay)
	}
	if n > 0 || l.lastMark == 0 {
		l.lastMark = now
	}
	if v := l.flight.Load(); v != 0 && now-l.lastMark > int64(leakedAfter) {
		l.flight.CompareAndSwap(v, 0)
	}
}

// recent is how many calls ended in the last seconds, those of the window that is
// under way too.
func (l *Load) recent() float64 { return l.calls + float64(uint32(l.window.Load())) }

// rate is the part of recent calls that failed.
func (l *Load) rate() float64 {
	if l.calls == 0 {
		return 0
	}
	return l.fails / l.calls
}

// judge ejects nodes whose success is far from that of the others: more than
// 1.9 standard deviations and 15 points below their mean. It is Envoy's success
// rate ejection with the node itself left out of mean and deviation, so that
// it also works among few.
func (p *Pool) judge(now int64) {
	var n, sum, squares float64
	for _, m := range p.members {
		if l := m.Load; l.calls >= minCalls && l.phase.Load() == closed {
			s := 1 - l.rate()
			n, sum, squares = n+1, sum+s, squares+s*s
		}
	}
	if n < 2 {
		return
	}
	for _, m := range p.members {
		l := m.Load
		if l.calls < minCalls || l.phase.Load() != closed {
			continue
		}
		s := 1 - l.rate()
		mean := (sum - s) / (n - 1)
		deviation := math.Sqrt(max((squares-s*s)/(n-1)-mean*mean, 0))
		if s < mean-max(deviations*deviation, minMargin) {
			p.eject(l, now, fmt.Sprintf("success rate %.0f %%, the others have %.0f %%", s*100, mean*100))
		}
	}
}

// eject opens the breaker of a node. The time grows with each ejection and is
// off by up to a fifth, so that callers do not return in step.
func (p *Pool) eject(l *Load, now int64, reason string) {
	l.times++
	d := p.conf.MaxEjection
	if shift := l.times - 1; shift < 20 && p.conf.BaseEjection<<shift < d && !l.unreached {
		d = p.conf.BaseEjection << shift
	}
	jitter := 0.8 + 0.4*float64(p.conf.Rand()>>11)/(1<<53)
	l.until = now + int64(float64(d)*jitter)
	l.since, l.reason, l.wins = now, reason, 0
	l.phase.Store(open)
	l.probing.Store(0)
	p.dirty = true
}

// readmit closes the breaker.
func (p *Pool) readmit(l *Load, now int64) {
	l.since, l.reason, l.unreached = now, "", false
	l.calls, l.fails, l.success = 0, 0, 1
	l.streak.Store(0)
	l.window.Store(0)
	l.phase.Store(closed)
	l.probing.Store(0)
	p.dirty = true
}

// probation lets single calls through.
func (p *Pool) probation(l *Load, now int64) {
	l.since, l.wins = now, 0
	l.phase.Store(halfOpen)
	l.probing.Store(0)
	p.dirty = true
}

// advance moves the phases that time moves.
func (p *Pool) advance(l *Load, now int64) {
	switch l.phase.Load() {
	case open:
		if now >= l.until {
			p.probation(l, now)
		}
	case halfOpen:
		switch begun := l.probing.Load(); {
		case begun == 1:
			l.probing.CompareAndSwap(1, max(now, 2))
		case begun > 1 && now-begun > int64(probeLost):
			l.probing.CompareAndSwap(begun, 0)
		}
	case closed:
		if l.times > 0 && now-l.since > 2*int64(min(p.conf.BaseEjection<<min(l.times, 20), p.conf.MaxEjection)) {
			l.times, l.since = l.times-1, now
		}
	}
}

// leftOut returns the nodes that are ejected in effect: never more than half of
// the candidates. When more are in trouble, what others advise counts for
// nothing and the worst half of our own stays out (panic).
func (p *Pool) leftOut(candidates []*Member, now int64) (out map[*Load]string, panicking bool) {
	out = make(map[*Load]string)
	var own []*Member
	for _, m := range candidates {
		if m.Load.phase.Load() == open {
			own = append(own, m)
			out[m.Load] = m.Load.reason
		} else if reason := p.advised(m, now); reason != "" {
			out[m.Load] = reason
		}
	}
	most := len(candidates) / 2
	if len(out) <= most {
		return out, false
	}
	slices.SortFunc(own, func(a, b *Member) int {
		if a.Load.unreached != b.Load.unreached {
			if a.Load.unreached {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.Load.success, b.Load.success), cmp.Compare(a.Node.Id, b.Node.Id))
	})
	clear(out)
	for _, m := range own[:min(most, len(own))] {
		out[m.Load] = m.Load.reason
	}
	return out, true
}

// advised returns why others say that the node should get no calls.
func (p *Pool) advised(m *Member, now int64) string {
	if p.unready[m.Node.Id] {
		return "not ready"
	}
	if p.policy != nil {
		if n := p.policy.Nodes[m.Node.Id]; n.Ejected > now {
			return n.Reason
		}
	}
	return ""
}
