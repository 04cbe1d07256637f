package srv

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	pb "github.com/micro/go-platform/router/proto"
)

const (
	// presence is how long somebody who asked by Select counts as a caller.
	presence = 10 * time.Second
	// linger is how long one counts whose stream ended: it may be opening
	// another.
	linger = 2 * time.Second
	// floorPart of a limit is divided evenly, whatever the callers ask for.
	floorPart = 0.2
	// headroom is added to what a caller wanted, so that it can grow.
	headroom = 1.25
	// leastShift is by how much of itself a share must change to be published
	// when neither the limit nor the callers changed.
	leastShift = 0.1
)

// sharing is the limit that is shared out now.
type sharing struct {
	revision uint64 // of the newest division
	limit    *pb.LimitSet
	among    []string
}

// share divides the service's limit among its active callers. The shares of one
// division add up to the limit; a caller that is gone has none.
func (e *engine) share(t *table, slot int64) bool {
	limit := e.policy.Load().limits[t.name]
	if limit.GetRequestsPerSecond() == 0 && limit.GetConcurrency() == 0 {
		return e.unshare(t)
	}
	ids := t.active()
	rates, calls := make([]float64, len(ids)), make([]float64, len(ids))
	for i, id := range ids {
		rates[i], calls[i] = t.parts[id].wants(slot)
	}
	rates, calls = divide(limit.RequestsPerSecond, rates), divide(float64(limit.Concurrency), calls)
	shift := t.shared.limit != limit || !slices.Equal(t.shared.among, ids)
	for i, id := range ids {
		old := t.parts[id].share
		shift = shift || moved(old.GetRequestsPerSecond(), rates[i]) || moved(old.GetConcurrency(), calls[i])
	}
	if !shift {
		return false
	}
	t.shared = sharing{e.revision.Add(1), limit, ids}
	for i, id := range ids {
		t.parts[id].share = &pb.Share{RequestsPerSecond: rates[i], Concurrency: calls[i], Limit: limit, Callers: int64(len(ids))}
	}
	return true
}

func (e *engine) unshare(t *table) bool {
	if t.shared.limit == nil {
		return false
	}
	t.shared = sharing{revision: e.revision.Add(1)}
	for _, p := range t.parts {
		p.share = nil
	}
	return true
}

// active are the callers among whom limits are divided, in order. Who is only
// heard of by the topic has no share.
func (t *table) active() []string {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(t.parts)) {
		if !t.parts[id].topic {
			ids = append(ids, id)
		}
	}
	return ids
}

func moved(old, now float64) bool { return math.Abs(now-old) > leastShift*old }

// wants is what the caller asked for in the window: calls per second, those
// that its own limit refused among them, and calls at a time (by Little's law).
func (p *part) wants(slot int64) (rate, atATime float64) {
	var sum demand
	p.demand.each(slot, 0, func(d *demand) {
		sum.calls += d.calls
		sum.coveredMs += d.coveredMs
		sum.busyMs += d.busyMs
	})
	if sum.coveredMs == 0 {
		return 0, 0
	}
	covered := float64(sum.coveredMs)
	return float64(sum.calls) * 1000 / covered, sum.busyMs / covered
}

// divide splits total: a floor for everybody, the rest max-min fair by what is
// wanted (Bertsekas and Gallager, "Data Networks", 6.5.2), what is left evenly.
func divide(total float64, wants []float64) []float64 {
	n := len(wants)
	parts := make([]float64, n)
	if n == 0 || total == 0 {
		return parts
	}
	floor := total * floorPart / float64(n)
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(wants[a], wants[b]) })
	rest := total - floor*float64(n)
	for at, i := range order {
		parts[i] = min(max(headroom*wants[i]-floor, 0), rest/float64(n-at))
		rest -= parts[i]
	}
	for i := range parts {
		parts[i] += floor + max(rest, 0)/float64(n)
	}
	return parts
}
