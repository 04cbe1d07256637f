package balance

import (
	"maps"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/micro/go-platform/internal/header"
)

// plan is how calls with certain labels divide among the nodes of a table. It
// is immutable.
type plan struct {
	lanes  []lane // by upTo
	sticky []lane // of calls with a sticky key; nil: the same
	none   bool   // no node may take these calls
	notes  []string
	rules  map[string]*Rule // that decided, by version
}

// lane is a part of the line 0..100 and who takes its calls.
type lane struct {
	upTo    float64
	version string // empty: all
	all     *set
	local   *set // nodes in the caller's zone when they are preferred
	remote  *set
	probes  []*Member // half open
}

// set is nodes to choose from.
type set struct {
	members []*Member
	alias   *alias // nil when all weights are equal
	turn    atomic.Uint64
}

func newSet(members []*Member, rand uint64) *set {
	s := &set{members: members}
	s.turn.Store(rand >> 1)
	for _, m := range members {
		if m.Weight != members[0].Weight {
			s.alias = newAlias(members)
			break
		}
	}
	return s
}

// bound is a label rule that holds for a call, with the call's value.
type bound struct {
	*LabelRule
	value string
}

func (b bound) matches(m *Member) bool {
	v, ok := header.Get(m.Node.Metadata, b.Key)
	return ok && strings.EqualFold(v, b.value) && (b.Version == "" || b.Version == m.Version)
}

// bounds returns the label rules that bind a call with these labels and point.
func (t *table) bounds(labels []Label, point float64) (found []bound) {
	if t.policy == nil {
		return nil
	}
	for _, l := range labels {
		if r := t.policy.binding(l, point); r >= 0 {
			found = append(found, bound{&t.policy.Labels[r], l.Value})
		}
	}
	return found
}

// newPlan lets labels narrow the nodes, then rules divide them.
func (t *table) newPlan(labels []Label, bounds []bound, p *Pool) *plan {
	pl := t.divide(t.usable, labels, bounds, p)
	if pl.none && len(t.usable) < len(t.candidates) {
		// Better a node in trouble than none.
		if last := t.divide(t.candidates, labels, bounds, p); !last.none {
			last.notes = append(last.notes, "ejections do not count: nobody else may take these calls")
			return last
		}
	}
	return pl
}

func (t *table) divide(members []*Member, labels []Label, bounds []bound, p *Pool) *plan {
	pl := &plan{}
	members = pl.narrow(members, bounds)
	if len(members) == 0 {
		pl.none = true
		return pl
	}
	byVersion := make(map[string][]*Member)
	for _, m := range members {
		byVersion[m.Version] = append(byVersion[m.Version], m)
	}
	pl.rules = t.decide(labels)
	if len(pl.rules) > 0 {
		pl.lanes = t.split(pl, byVersion, p)
		pl.none = len(pl.lanes) == 0
		return pl
	}
	// Nothing divides the versions, but a user stays with one.
	pl.lanes = []lane{t.newLane("", 100, members, p)}
	if len(byVersion) > 1 {
		pl.sticky = t.split(pl, byVersion, p)
	}
	return pl
}

// split makes a lane for each version that has a part.
func (t *table) split(pl *plan, byVersion map[string][]*Member, p *Pool) (lanes []lane) {
	names, parts, total := pl.parts(byVersion)
	upTo := 0.0
	for i, name := range names {
		if parts[i] > 0 {
			upTo += parts[i] / total * 100
			lanes = append(lanes, t.newLane(name, upTo, byVersion[name], p))
		}
	}
	return lanes
}

// narrow leaves the nodes that match all bounds.
func (pl *plan) narrow(members []*Member, bounds []bound) []*Member {
	if len(bounds) == 0 {
		return members
	}
	kept := slices.DeleteFunc(slices.Clone(members), func(m *Member) bool {
		return slices.ContainsFunc(bounds, func(b bound) bool { return !b.matches(m) })
	})
	for _, b := range bounds {
		note := "label " + b.ID
		if len(kept) == 0 {
			note += ": fallback"
		}
		pl.notes = append(pl.notes, note)
	}
	if len(kept) > 0 || slices.ContainsFunc(bounds, func(b bound) bool { return b.Strict }) {
		return kept
	}
	return members
}

// decide returns the rule that counts for each version.
func (t *table) decide(labels []Label) map[string]*Rule {
	if t.policy == nil || len(t.policy.Rules) == 0 {
		return nil
	}
	decided := make(map[string]*Rule)
	for i := range t.policy.Rules {
		r := &t.policy.Rules[i]
		if r.Key != "" && !r.applies(labels) {
			continue
		}
		for _, v := range t.versions {
			if r.Version == "" || r.Version == v {
				decided[v] = r
			}
		}
	}
	return decided
}

// parts returns the versions in their order on the line, each with its part:
// those with a rule by name, then those without.
func (pl *plan) parts(byVersion map[string][]*Member) (names []string, parts []float64, total float64) {
	rest := 100.0
	for _, r := range pl.rules {
		rest -= float64(r.Weight)
	}
	free := 0 // nodes of versions without a rule
	for name, members := range byVersion {
		if pl.rules[name] == nil {
			free += len(members)
		}
	}
	sorted := slices.Sorted(maps.Keys(byVersion))
	for _, name := range sorted {
		if r := pl.rules[name]; r != nil {
			names, parts = append(names, name), append(parts, float64(r.Weight))
			total += float64(r.Weight)
		}
	}
	for _, name := range sorted {
		if pl.rules[name] == nil {
			part := max(rest, 0) * float64(len(byVersion[name])) / float64(free)
			if rest <= 0 && total == 0 { // who should have had it all is not there
				part = float64(len(byVersion[name]))
			}
			names, parts = append(names, name), append(parts, part)
		}
	}
	total = 0
	for _, part := range parts {
		total += part
	}
	return names, parts, max(total, math.SmallestNonzeroFloat64)
}

// newLane makes the sets of a lane. Half-open nodes are probed beside the
// others, unless there are no others.
func (t *table) newLane(version string, upTo float64, members []*Member, p *Pool) lane {
	l := lane{upTo: upTo, version: version}
	whole := make([]*Member, 0, len(members))
	for _, m := range members {
		if m.Load.phase.Load() == halfOpen {
			l.probes = append(l.probes, m)
		} else {
			whole = append(whole, m)
		}
	}
	if len(whole) == 0 {
		whole, l.probes = l.probes, nil
	}
	l.all = newSet(whole, p.conf.Rand())
	if p.conf.Zone == "" {
		return l
	}
	var near, far []*Member
	for _, m := range whole {
		if m.Zone == p.conf.Zone {
			near = append(near, m)
		} else {
			far = append(far, m)
		}
	}
	if len(near) > 0 && len(far) > 0 && 2*len(near) >= t.near[version] {
		l.local, l.remote = newSet(near, p.conf.Rand()), newSet(far, p.conf.Rand())
	}
	return l
}
