package srv

import (
	"fmt"
	"maps"
	"slices"
	"time"

	pb "github.com/micro/go-platform/monitor/proto"
)

// maxVerdictReasons bounds what is told of one service.
const maxVerdictReasons = 20

// givenUp is the silence after which a node no longer counts while others of its
// service are there: it was replaced without saying so.
const givenUp = 10 * time.Minute

// verdicts judges every service: by its nodes, then by what it depends on.
func verdicts(nodes []node, now time.Time) []*pb.Verdict {
	byName := make(map[string][]node)
	for _, n := range nodes {
		byName[n.service.Name] = append(byName[n.service.Name], n)
	}
	own := make(map[string]*pb.Verdict, len(byName))
	for name, of := range byName {
		own[name] = judge(name, of, now)
	}
	states := make(map[string]pb.Verdict_State, len(own))
	for name, v := range own {
		states[name] = v.State
	}
	all := make([]*pb.Verdict, 0, len(own))
	for _, name := range slices.Sorted(maps.Keys(own)) {
		v := own[name]
		for _, d := range v.Dependencies {
			d.State = states[d.Service]
		}
		all = append(all, v)
	}
	for _, v := range all {
		rollUp(v, own, states)
	}
	return all
}

// judge is the verdict of a service by its own nodes. Nodes that leave do not
// count unless there are no others: a rolling restart is not trouble.
func judge(name string, nodes []node, now time.Time) *pb.Verdict {
	v := &pb.Verdict{Service: name, Dependencies: dependencies(name, nodes)}
	silent, gone := 0, 0
	because := func(format string, args ...any) {
		if len(v.Reasons) < maxVerdictReasons {
			v.Reasons = append(v.Reasons, fmt.Sprintf(format, args...))
		}
	}
	for _, n := range nodes {
		switch n.status {
		case pb.Status_STOPPED, pb.Status_DRAINING:
			continue
		case pb.Status_UNKNOWN:
			if now.Sub(n.heard) > givenUp {
				gone++
				continue
			}
			silent++
			because("node %s is silent", n.id())
		default:
			if trouble(n, because) {
				v.Ready++
			}
		}
		v.Nodes++
	}
	switch {
	case v.Nodes == 0 && gone == 0:
		v.State = pb.Verdict_STOPPED
	case int64(silent) == v.Nodes:
		v.State = pb.Verdict_UNKNOWN
	case v.Ready == 0:
		v.State = pb.Verdict_DOWN
	case len(v.Reasons) > 0:
		v.State = pb.Verdict_DEGRADED
	default:
		v.State = pb.Verdict_OK
	}
	return v
}

// trouble tells what is wrong with a node that reports, and whether it is ready
// all the same.
func trouble(n node, because func(string, ...any)) (ready bool) {
	for _, reason := range n.notReady {
		because("node %s is not ready: %s", n.id(), reason)
	}
	for _, id := range slices.Sorted(maps.Keys(n.checks)) {
		c := n.checks[id]
		if c.Status != pb.HealthCheck_ERROR || slices.Contains(n.notReady, "check "+id) {
			continue
		}
		because("node %s: check %s: %s", n.id(), id, c.Error)
	}
	return len(n.notReady) == 0
}

// dependencies sums up which services the nodes called in their newest windows.
func dependencies(own string, nodes []node) []*pb.Dependency {
	found := make(map[string]*pb.Dependency)
	for _, n := range nodes {
		if n.status == pb.Status_UNKNOWN || n.status == pb.Status_STOPPED {
			continue
		}
		for _, e := range n.stats.GetEndpoints() {
			client := e.Side == pb.Endpoint_CLIENT || e.Side == pb.Endpoint_UNSPECIFIED
			if !client || e.Service == "" || e.Service == own {
				continue
			}
			d := found[e.Service]
			if d == nil {
				d = &pb.Dependency{Service: e.Service}
				found[e.Service] = d
			}
			d.Success += e.Success.GetCount()
			d.Errors += e.Errors.GetCount()
			d.Dropped += e.Dropped.GetCount()
			d.Upper95 = max(d.Upper95, e.Success.GetUpper95())
		}
	}
	all := make([]*pb.Dependency, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		all = append(all, found[name])
	}
	return all
}

// rollUp makes a service that is well DEGRADED when one that it depends on,
// directly or through others, is DOWN or STOPPED.
func rollUp(v *pb.Verdict, own map[string]*pb.Verdict, states map[string]pb.Verdict_State) {
	if v.State != pb.Verdict_OK && v.State != pb.Verdict_DEGRADED {
		return
	}
	seen := map[string]bool{v.Service: true}
	for queue := []string{v.Service}; len(queue) > 0; queue = queue[1:] {
		for _, d := range own[queue[0]].GetDependencies() {
			if seen[d.Service] {
				continue
			}
			seen[d.Service] = true
			queue = append(queue, d.Service)
			if s := states[d.Service]; s == pb.Verdict_DOWN || s == pb.Verdict_STOPPED {
				v.State = pb.Verdict_DEGRADED
				if len(v.Reasons) < maxVerdictReasons {
					v.Reasons = append(v.Reasons, fmt.Sprintf("depends on %s, which is %v", d.Service, s))
				}
			}
		}
	}
}
