package kv

import (
	"slices"
	"sync"
	"time"

	pb "github.com/micro/go-platform/kv/proto"
)

// member is what is known of another.
type member struct {
	node
	gone    bool
	heard   time.Time            // when it answered last
	failing bool                 // it did not answer the last probe
	view    uint64               // what it said it has
	synced  uint64               // for which it has handed its items over
	granted time.Time            // until then it does not remove this member, see lease
	lost    bool                 // removed since the last stable view
	saw     map[string]time.Time // when it had heard of others, by this clock
}

// members is who is one. All ages are by the clock of this process: nobody's
// clock is asked. It decides, and does no I/O.
type members struct {
	mu        sync.Mutex
	self      node
	joined    bool // this member is in the registry
	leaving   bool
	all       map[string]*member
	suspicion time.Duration
}

const (
	maxGone = 1000 // remembered of those that left
	forever = 1000 * 24 * time.Hour
)

// nodes returns who makes the view.
func (m *members) nodes() []node {
	m.mu.Lock()
	defer m.mu.Unlock()
	var nodes []node
	for _, x := range m.all {
		if !x.gone {
			nodes = append(nodes, x.node)
		}
	}
	if !m.leaving && (m.joined || len(nodes) == 0) {
		nodes = append(nodes, m.self)
	}
	return nodes
}

// alive returns who is to be probed.
func (m *members) alive() (nodes []node) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.all {
		if !x.gone {
			nodes = append(nodes, x.node)
		}
	}
	return nodes
}

// message is what others are told.
func (m *members) message() (self *pb.Member, all []*pb.Member) {
	m.mu.Lock()
	defer m.mu.Unlock()
	self = &pb.Member{Id: m.self.id, Address: m.self.address, Incarnation: m.self.incarnation, Gone: m.leaving || !m.joined, Joining: !m.leaving && !m.joined}
	for _, x := range m.all {
		all = append(all, &pb.Member{
			Id: x.id, Address: x.address, Incarnation: x.incarnation, Gone: x.gone, HeardMs: time.Since(x.heard).Milliseconds(),
		})
	}
	return self, all
}

// unknown tells whether one that says it is a member may be worth a question.
func (m *members) unknown(x *pb.Member) bool {
	if x.GetId() == "" || x.Id == m.self.id {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	known, ok := m.all[x.Id]
	return !x.Gone && (!ok || x.Incarnation > known.incarnation)
}

// news tells whether a known member says something else than when it was asked,
// and so should be asked again.
func (m *members) news(req *pb.ProbeRequest) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	x, ok := m.all[req.Self.GetId()]
	return ok && !x.gone && (x.view != req.View || x.synced != req.Synced)
}

// answered takes in what a member said that was called, at some moment, at the
// address of the registry. It returns that this member was removed by the others,
// and who else should be asked.
func (m *members) answered(address string, called time.Time, rsp *pb.ProbeResponse) (removed bool, ask bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.all[rsp.Self.Id]
	switch {
	case rsp.Self.Gone && (x == nil || x.gone):
		return false, false // no member, at most a client
	case x == nil || rsp.Self.Incarnation > x.incarnation:
		x = &member{node: node{rsp.Self.Id, rsp.Self.Incarnation, address}}
		m.all[x.id] = x
	case rsp.Self.Incarnation < x.incarnation || x.gone:
		return false, false // the past
	}
	x.gone, x.heard, x.failing, x.view, x.synced, x.address = rsp.Self.Gone, time.Now(), false, rsp.View, rsp.Synced, address
	x.saw = make(map[string]time.Time, len(rsp.Members))
	for _, other := range rsp.Members {
		if other.Id == m.self.id {
			if other.Gone && other.Incarnation >= m.self.incarnation {
				m.self.incarnation, removed = other.Incarnation+1, !m.leaving
			} else if other.Incarnation == m.self.incarnation {
				heard := called.Add(-time.Duration(other.HeardMs) * time.Millisecond)
				x.granted = heard.Add(m.suspicion * 9 / 10) // clocks may differ in speed
			}
			continue
		}
		x.saw[other.Id] = x.heard.Add(-time.Duration(other.HeardMs) * time.Millisecond)
		known := m.all[other.Id]
		switch {
		case known == nil:
			ask = ask || !other.Gone
			if other.Gone && len(m.all) < maxGone { // so that it does not come back as it was
				m.all[other.Id] = &member{node: node{other.Id, other.Incarnation, other.Address}, gone: true}
			}
		case other.Incarnation > known.incarnation:
			ask = ask || !other.Gone
		case other.Gone && other.Incarnation == known.incarnation && !known.gone && known.failing && time.Since(known.heard) > m.suspicion:
			known.gone, known.lost = true, true // nor does it answer here
		}
	}
	return removed, ask
}

func (m *members) failed(n node) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if x, ok := m.all[n.id]; ok && x.incarnation == n.incarnation {
		x.failing = true
	}
}

// failing tells whether the node did not answer lately, so that others are asked
// first.
func (m *members) isFailing(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	x, ok := m.all[id]
	return ok && x.failing
}

// minority tells that at most half of the members have answered lately, so that
// it is these that may have been removed by the rest. One probe that failed is
// no reason: a busy machine is late, too.
func (m *members) minority() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	all, failing := 1, 0
	for _, x := range m.all {
		if !x.gone {
			all++
			if x.failing && time.Since(x.heard) > m.suspicion/2 {
				failing++
			}
		}
	}
	return 2*(all-failing) <= all
}

// bury removes the members of whom neither this one nor any other has heard for
// the time of suspicion, if more than half of all have been heard; with just
// half, those that the registry does not know either. Those that were removed
// since the last stable view count, or a half could shrink to its own. It tells
// of the removed.
func (m *members) bury(registered func() ([]string, error)) (gone []string) {
	m.mu.Lock()
	silent, lost, all := m.silent()
	m.mu.Unlock()
	if len(silent) == 0 || 2*lost > all {
		return nil
	}
	if 2*lost == all {
		known, err := registered() // asks the registry
		if err != nil {
			return nil
		}
		silent = slices.DeleteFunc(silent, func(id string) bool { return slices.Contains(known, id) })
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range silent {
		if x := m.all[id]; x != nil && !x.gone && time.Since(x.heard) > m.suspicion {
			x.gone, x.lost = true, true
			gone = append(gone, id)
		}
	}
	return gone
}

// settled is called when a view is stable.
func (m *members) settled() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.all {
		x.lost = false
	}
}

// lease returns until when no other view can be stable without this member:
// until then it may answer for this one. It is when the last of a majority may
// remove it (C. Gray, D. Cheriton, "Leases", SOSP 1989), by what they said of
// when they heard it.
func (m *members) lease(nodes []node) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	var until []time.Time
	for _, n := range nodes {
		if x := m.all[n.id]; n.id != m.self.id && x != nil && x.incarnation == n.incarnation {
			until = append(until, x.granted)
		}
	}
	need := len(nodes) / 2 // and this one
	switch {
	case need == 0:
		return time.Now().Add(forever) // alone
	case len(until) < need:
		return time.Time{}
	}
	slices.SortFunc(until, func(a, b time.Time) int { return b.Compare(a) })
	return until[need-1]
}

// silent is called with the mutex held. all counts this member too, and lost
// counts the silent and who was removed lately.
func (m *members) silent() (ids []string, lost, all int) {
	all = 1
	now := time.Now()
	for id, x := range m.all {
		if x.lost {
			all++
			lost++
		}
		if x.gone {
			continue
		}
		all++
		last := x.heard
		for _, witness := range m.all {
			if seen, ok := witness.saw[id]; ok && !witness.gone && now.Sub(witness.heard) < m.suspicion && seen.After(last) {
				last = seen
			}
		}
		if now.Sub(last) > m.suspicion {
			ids = append(ids, id)
			lost++
		}
	}
	return ids, lost, all
}

// agreed tells whether all other members have the view and have handed over what
// it gives to others.
func (m *members) agreed(digest uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.all {
		if !x.gone && (x.view != digest || x.synced != digest) {
			return false
		}
	}
	return true
}
