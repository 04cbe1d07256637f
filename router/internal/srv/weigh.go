package srv

import (
	"math"
	"slices"
	"time"
)

const (
	weighInterval = time.Second
	leastWeight   = 0.05 // a node that gets nothing cannot show that it is well again
	afterEjection = 0.25
	// fewCallersWeight is the least weight that fewer callers than an ejection
	// takes can give a node, so that one that lies does little.
	fewCallersWeight = 0.5

	fastGain = 0.7 // how far a weight moves in one step towards what it should be
	slowGain = 0.1 // when nobody called the node

	leastShown = 5 // a smaller change of a weight is not published

	// grace is added to latencies before they are compared, in milliseconds:
	// below it, differences are noise.
	grace = 0.5
	// tolerance is how much slower than the typical node is as good, as a part.
	tolerance = 0.25
)

// score rates every node that a caller saw, 0..1: its typical latency over the
// node's (less the tolerance), within the zone, times the square of its success rate over the
// typical one.
func score(seen []sight) []float64 {
	byZone := make(map[string][]float64)
	success := make([]float64, len(seen))
	for i, s := range seen {
		success[i] = 1 - s.failureRate()
		if s.success.count > 0 {
			byZone[s.node.zone] = append(byZone[s.node.zone], s.success.mean())
		}
	}
	typical := make(map[string]float64, len(byZone))
	for zone, latencies := range byZone {
		typical[zone] = median(latencies)
	}
	typicalSuccess := median(slices.Clone(success))
	scores := make([]float64, len(seen))
	for i, s := range seen {
		scores[i] = 1
		if s.success.count > 0 {
			slower := (s.success.mean() + grace) / (typical[s.node.zone] + grace)
			scores[i] = 1 / max(1, slower-tolerance)
		}
		if typicalSuccess > 0 {
			scores[i] *= min(1, (success[i]/typicalSuccess)*(success[i]/typicalSuccess))
		}
	}
	return scores
}

// weigh moves the weights towards what the callers say.
func (e *engine) weigh(t *table, found map[*node]*judgement, now time.Time) {
	if now.Sub(t.weighed) < weighInterval {
		return
	}
	t.weighed = now
	for _, n := range t.nodes {
		if !n.ejection.until.IsZero() {
			continue
		}
		target, gain := 1.0, slowGain
		if j := found[n]; j != nil {
			target, gain = max(j.score, leastWeight), fastGain
			if len(j.ballots) < e.minCallers {
				target = max(target, fewCallersWeight)
			}
		}
		if n.move(target, gain) {
			t.derived++
		}
	}
}

// move reports whether what is published changed.
func (n *node) move(target, gain float64) bool {
	was := n.shown
	if n.weight += gain * (target - n.weight); math.Abs(target-n.weight) < 0.01 {
		n.weight = target
	}
	now := int64(math.Round(100 * n.weight))
	if d := now - n.shown; d >= leastShown || d <= -leastShown || now == 100 {
		n.shown = now
	}
	return n.shown != was
}
