package srv

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Ejection follows Envoy's outlier detection (Envoy documentation, "Outlier
// detection"): consecutive failures, failure percentage and success rate, an
// ejection time that grows with each repetition, and a share of nodes that is
// never exceeded. What is ours: each caller applies the tests to what it saw
// itself, and only a majority of the callers ejects.
const (
	consecutiveFailures = 5
	failurePercentage   = 0.85
	successRateNodes    = 5   // nodes that a deviation is computed of
	successRateFactor   = 1.9 // deviations below the mean
	// leastExcess is how much more of its calls than the typical node's must
	// fail, else the smallest deviation would be an outlier among good nodes.
	leastExcess = 0.10

	maxEjection  = 5 * time.Minute
	returnJitter = 0.25 // of the ejection, added at random
)

// ejection is the past and present of one node.
type ejection struct {
	until  time.Time // zero: not ejected
	reason string
	times  int       // how often, less one for each calm period since
	calm   time.Time // when it ended or times fell last
	since  int64     // step before which reports do not count any more
}

// suspicion is why a caller would eject a node, or "".
func suspicion(s sight, typical, low float64) string {
	rate := s.failureRate()
	if s.failed() == 0 || rate < typical+leastExcess {
		return ""
	}
	switch {
	case s.consecutive >= consecutiveFailures:
		return "consecutive_failures"
	case s.calls() < minVolume:
		return ""
	case rate >= failurePercentage:
		return "failure_percentage"
	case 1-rate < low:
		return "success_rate"
	}
	return ""
}

// lowSuccess is the success rate below which a node is an outlier to a caller,
// 0 when it saw too few nodes.
func lowSuccess(seen []sight) float64 {
	var n, sum, square float64
	for _, s := range seen {
		if s.calls() >= minVolume {
			rate := 1 - s.failureRate()
			n, sum, square = n+1, sum+rate, square+rate*rate
		}
	}
	if n < successRateNodes {
		return 0
	}
	mean := sum / n
	return mean - successRateFactor*math.Sqrt(max(square/n-mean*mean, 0))
}

// quorum reports whether the callers may eject the node: there are enough of
// them, and most of their machines are for it, two at least, so that none that
// lies decides alone. On loopback, as in development, each caller counts as a
// machine.
func (e *engine) quorum(j *judgement) bool {
	return len(j.ballots) >= e.minCallers && 2*j.votes > j.machines && j.votes >= min(2, e.minCallers)
}

// eject begins new ejections, the worst node first, as long as half of the
// nodes stay; out of them are ejected already.
func (e *engine) eject(t *table, found map[*node]*judgement, out int, now time.Time) {
	type outlier struct {
		*node
		*judgement
	}
	var outliers []outlier
	for n, j := range found {
		if n.ejection.until.IsZero() && !n.draining && e.quorum(j) {
			outliers = append(outliers, outlier{n, j})
		}
	}
	slices.SortFunc(outliers, func(a, b outlier) int {
		return cmp.Or(cmp.Compare(b.rate(), a.rate()), cmp.Compare(a.id, b.id))
	})
	for _, o := range outliers[:max(min(len(outliers), t.spare()-out), 0)] {
		o.begin(e.ejection, o.why(), now)
		t.derived++
	}
}

func (j *judgement) rate() float64 { return float64(j.failed) / float64(j.calls) }

// why names the cause most callers gave, and figures.
func (j *judgement) why() string {
	cause := slices.MaxFunc(slices.Sorted(maps.Keys(j.causes)), func(a, b string) int { return cmp.Compare(j.causes[a], j.causes[b]) })
	return fmt.Sprintf("%s: %d of %d calls failed, as %d of %d machines saw", cause, j.failed, j.calls, j.votes, j.machines)
}

// begin ejects the node.
func (n *node) begin(first time.Duration, reason string, now time.Time) {
	x := &n.ejection
	x.times++
	d := min(time.Duration(x.times)*first, maxEjection)
	x.until = now.Add(d + time.Duration(rand.Float64()*returnJitter*float64(d)))
	x.reason = reason
}

// readmit ends ejections whose time is over, and returns how many nodes are
// still ejected.
func (e *engine) readmit(t *table, now time.Time, slot int64) int {
	var out []*node
	for _, n := range t.nodes {
		switch x := &n.ejection; {
		case x.until.IsZero():
			if x.times > 0 && now.Sub(x.calm) > e.ejection {
				x.times, x.calm = x.times-1, now
			}
		case !now.Before(x.until):
			n.back(now, slot)
			t.derived++
		case !n.draining:
			out = append(out, n)
		}
	}
	// Nodes may have left the registry: the ones that return soonest do it now.
	slices.SortFunc(out, func(a, b *node) int { return a.ejection.until.Compare(b.ejection.until) })
	for spare := t.spare(); len(out) > spare; {
		out[0].back(now, slot)
		t.derived++
		out = out[1:]
	}
	return len(out)
}

// back ends the ejection. The node begins with little and is judged by what
// comes from now on.
func (n *node) back(now time.Time, slot int64) {
	x := &n.ejection
	x.until, x.reason, x.calm, x.since = time.Time{}, "", now, slot
	n.weight, n.shown = afterEjection, int64(100*afterEjection)
	for _, p := range n.pairs {
		p.consecutive = 0
	}
}
