package balance

import (
	"fmt"
	"math"
	"slices"
	"time"

	"go-micro.dev/v6/registry"
)

// Explanation is where the calls of a service go and why, at one moment.
type Explanation struct {
	Strategy  Strategy
	Zone      string
	Panicking bool // more than half of the nodes are in trouble
	Versions  []Lane
	Nodes     []NodeState // by version, then id
	Notes     []string
}

// Lane is the part of a version.
type Lane struct {
	Version string  // empty: all versions alike
	Percent float64 // of the calls
	Reason  string
}

// NodeState is one node.
type NodeState struct {
	Node     *registry.Node
	Version  string
	Zone     string
	Calls    float64 // that ended in the last seconds, older ones counting less
	Share    float64 // 0..1, of those
	Weight   float64 // 0..1
	Latency  time.Duration
	InFlight int
	Streams  int
	Success  float64 // 0..1
	Reasons  []string
}

// Explain tells where calls with these labels go.
func (p *Pool) Explain(labels []Label) Explanation {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.table.Load()
	e := Explanation{Strategy: p.conf.Strategy, Zone: p.conf.Zone, Panicking: t.panicking}
	pl := t.plain
	if len(labels) > 0 {
		pl = t.newPlan(labels, t.bounds(labels, 0), p)
	}
	e.Notes = append(e.Notes, pl.notes...)
	if t.panicking {
		e.Notes = append(e.Notes, "panic: more than half of the nodes are in trouble, so that no more than half are left out")
	}
	if pl.none {
		e.Notes = append(e.Notes, "no node may take these calls")
	}
	e.Versions = t.lanes(pl)
	total := 0.0
	for _, m := range p.members {
		total += m.Load.recent()
	}
	for _, members := range [...][]*Member{p.members, p.draining} {
		for _, m := range members {
			e.Nodes = append(e.Nodes, p.state(t, pl, m, total))
		}
	}
	slices.SortFunc(e.Nodes, func(a, b NodeState) int {
		if a.Version != b.Version {
			if a.Version < b.Version {
				return -1
			}
			return 1
		}
		if a.Node.Id < b.Node.Id {
			return -1
		}
		return 1
	})
	return e
}

// lanes names the part of every version and the rule behind it.
func (t *table) lanes(pl *plan) (all []Lane) {
	from := 0.0
	for _, l := range pl.lanes {
		lane := Lane{Version: l.version, Percent: l.upTo - from, Reason: "no rule: what the others leave"}
		from = l.upTo
		if len(pl.rules) == 0 {
			lane.Reason = "no rule: by nodes"
		}
		if r := pl.rules[l.version]; r != nil {
			lane.Reason = rule(r)
		}
		all = append(all, lane)
	}
	if len(pl.rules) == 0 {
		return all
	}
	for _, v := range t.versions {
		if slices.ContainsFunc(all, func(l Lane) bool { return l.Version == v }) {
			continue
		}
		reason := "no usable node"
		if r := pl.rules[v]; r != nil {
			reason = rule(r)
			if r.Weight > 0 {
				reason += ", no usable node"
			}
		}
		all = append(all, Lane{Version: v, Reason: reason})
	}
	return all
}

func rule(r *Rule) string {
	s := fmt.Sprintf("rule %s: weight %d, priority %d", r.ID, r.Weight, r.Priority)
	if r.Key != "" {
		s += fmt.Sprintf(", for label %s=%s", r.Key, r.Value)
	}
	return s
}

func (p *Pool) state(t *table, pl *plan, m *Member, total float64) NodeState {
	l := m.Load
	latency, _ := unpack(l.latency.Load())
	s := NodeState{
		Node: m.Node, Version: m.Version, Zone: m.Zone, Calls: l.recent(), Weight: m.Weight,
		Latency: time.Duration(latency), InFlight: l.InFlight(), Streams: int(l.streams.Load()), Success: l.success,
	}
	if total > 0 {
		s.Share = s.Calls / total
	}
	s.Reasons = p.reasons(t, pl, m)
	return s
}

// reasons names what sets a node apart from a plain one.
func (p *Pool) reasons(t *table, pl *plan, m *Member) (why []string) {
	l := m.Load
	if slices.Contains(p.draining, m) {
		return []string{"draining: no new calls"}
	}
	reason, out := t.out[l]
	switch phase := l.phase.Load(); {
	case out && phase == open:
		left := "until the probation that is due"
		if d := time.Duration(l.until - p.conf.Now()); d > 0 {
			left = fmt.Sprint("for ", d.Round(time.Millisecond))
		}
		why = append(why, fmt.Sprintf("ejected %s, %s: %s", left, times(l.times), reason))
	case out:
		why = append(why, "left out: "+reason)
	case phase == open:
		why = append(why, "in trouble but kept: "+l.reason)
	case phase == halfOpen:
		why = append(why, fmt.Sprintf("on probation: %d of %d calls went well", l.wins, wantedWins))
	}
	reached, local, remote := false, false, false
	for i := range pl.lanes {
		ln := &pl.lanes[i]
		reached = reached || slices.Contains(ln.all.members, m) || slices.Contains(ln.probes, m)
		if ln.local != nil {
			local = local || slices.Contains(ln.local.members, m)
			remote = remote || slices.Contains(ln.remote.members, m)
		}
	}
	if !reached && !out {
		why = append(why, "no part for version "+m.Version+" or these labels")
	}
	if local {
		why = append(why, "preferred: in zone "+m.Zone)
	}
	if remote {
		why = append(why, fmt.Sprintf("spare: not in zone %s, taken when nodes there cost %d times as much", p.conf.Zone, zoneFactor))
	}
	if m.Weight < 1 {
		why = append(why, fmt.Sprintf("weight %.0f of 100 by router-srv", m.Weight*100))
	}
	if s := math.Float32frombits(l.slope.Load()); s > 1.01 {
		why = append(why, fmt.Sprintf("counts %.1f times its latency for failing %.0f %%", s, (1-l.success)*100))
	}
	return why
}

func times(n int) string {
	if n == 1 {
		return "the first time"
	}
	return fmt.Sprintf("%d times lately", n)
}
