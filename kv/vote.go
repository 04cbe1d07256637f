package kv

import (
	"slices"
	"time"
)

// verdict is what the members have to say to a removal.
type verdict int

const (
	refused verdict = iota
	doubtful
	agreed
)

// electorate takes the rosters of a view whose members decide about a removal.
func (m *members) electorate(since []*roster) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.since = since
}

// lease returns until when no other view can be stable without this member:
// until then it may answer for this one. It is when the last of a majority may
// remove it (C. Gray, D. Cheriton, "Leases", SOSP 1989), by what they said of
// when they heard it. It is a majority of those that suffrage counts: the rest of the
// view may go on with those that only this member removed. Where the registry made
// up for the missing voice, it is all of the view.
func (m *members) lease(nodes []node) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	end := m.granted(nodes, min(m.count()/2, len(nodes)-1)) // and this one
	for _, r := range m.since {
		need := len(r.nodes) / 2
		if r.self < 0 {
			need++
		}
		if until := m.granted(r.nodes, need); until.Before(end) {
			end = until
		}
	}
	return end
}

// granted returns until when need of the nodes beside this one do not remove it. It
// is called with the mutex held.
func (m *members) granted(nodes []node, need int) time.Time {
	if need == 0 {
		return time.Now().Add(forever) // alone
	}
	var until []time.Time
	for _, n := range nodes {
		x := m.all[n.id]
		switch {
		case n.id == m.self.id || x == nil || x.incarnation != n.incarnation:
		case x.gone && !x.lost && !x.granted.IsZero():
			until = append(until, time.Now().Add(forever)) // it left, and votes no more
		default:
			until = append(until, x.granted)
		}
	}
	if len(until) < need {
		return time.Time{}
	}
	slices.SortFunc(until, func(a, b time.Time) int { return b.Compare(a) })
	return until[need-1]
}

// count returns how many members there are: this one, the others, and those that
// were removed since the last stable view. It is called with the mutex held.
func (m *members) count() (n int) {
	n = 1
	for _, x := range m.all {
		if !x.gone || x.lost {
			n++
		}
	}
	return n
}

// silent returns the members that no member has heard of, by the word of enough of
// all, and unsure those by the word of doubtfully many. It is called with the mutex
// held.
func (m *members) silent() (silent, unsure []string) {
	now := time.Now()
	for id, x := range m.all {
		if x.gone || now.Sub(x.heard) <= m.suspicion {
			continue
		}
		voices, heard := []node{m.self}, false
		for _, witness := range m.all {
			if witness.gone || witness == x || now.Sub(witness.heard) >= m.suspicion {
				continue
			}
			seen, ok := witness.saw[id]
			heard = heard || ok && now.Sub(seen) <= m.suspicion
			// By its own words: one that has been cut off since would not have
			// heard of it here, and may be hearing of it all the time.
			if m.hears(witness) && (!ok || witness.heard.Sub(seen) > m.suspicion) {
				voices = append(voices, witness.node)
			}
		}
		if heard {
			continue
		}
		switch m.suffrage(voices) {
		case agreed:
			silent = append(silent, id)
		case doubtful:
			unsure = append(unsure, id)
		}
	}
	return silent, unsure
}

// hears reports whether a witness had heard of half of all, itself with them, when it
// answered. One that reaches nobody would say of each side that it is silent. It is
// called with the mutex held.
func (m *members) hears(witness *member) bool {
	n := 1
	for _, seen := range witness.saw {
		if witness.heard.Sub(seen) <= m.suspicion {
			n++
		}
	}
	return 2*n >= m.count()
}

// suffrage returns whether those that say so are enough for a removal: more than half
// of all, and of each of the rosters of the view, or a side that is cut off could
// outvote the other with members that came since. Members that were removed since the
// last stable view count, or a half could shrink to its own. It is called with the
// mutex held.
//
// Just half is doubtful. So is a majority that needs a member of another life than
// that in the roster, which has forgotten what it said before, or one that left, which
// may have said something else. And so is whatever a member without a roster knows:
// others may have decided before it came.
func (m *members) suffrage(voices []node) verdict {
	v := most(len(voices), len(voices), m.count())
	if len(m.since) == 0 {
		v = min(v, doubtful)
	}
	for _, r := range m.since {
		same, named := 0, 0
		for _, n := range r.nodes {
			i := slices.IndexFunc(voices, func(voice node) bool { return voice.id == n.id })
			if x := m.all[n.id]; i >= 0 || x != nil && x.gone && !x.lost {
				named++
			}
			if i >= 0 && voices[i].incarnation == n.incarnation {
				same++
			}
		}
		v = min(v, most(same, named, len(r.nodes)))
	}
	return v
}

func most(sure, perhaps, all int) verdict {
	switch {
	case 2*sure > all:
		return agreed
	case 2*perhaps >= all:
		return doubtful
	}
	return refused
}
