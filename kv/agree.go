package kv

import (
	"time"

	pb "github.com/micro/go-platform/kv/proto"
)

// state is how far a member is with its view. Members pass on what they know of
// others, so that two that do not reach each other hear of each other.
type state struct {
	step    uint64 // counts the changes: of two states the higher is the newer
	view    uint64 // the digest of its view
	synced  uint64 // the same once it has handed its items over
	settled uint64 // the same once it knows that all have
}

func stateOf(m *pb.Member) state { return state{m.Step, m.View, m.Synced, m.Settled} }

func (s state) tell(m *pb.Member) {
	m.Step, m.View, m.Synced, m.Settled = s.step, s.view, s.synced, s.settled
}

// learn takes in what somebody says of a member.
func (s *state) learn(said state) {
	if said.step > s.step {
		*s = said
	}
}

// state returns how far this member is.
func (m *members) state() state {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.own
}

// moved is called when the view is another.
func (m *members) moved(digest uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.own = state{step: m.own.step + 1, view: digest}
}

// synced is called when this member has handed its items over.
func (m *members) synced(digest uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.own.view == digest {
		m.own.step, m.own.synced = m.own.step+1, digest
	}
}

// settle is called when all members have handed their items over. Who leaves and
// has done so is not needed any more.
func (m *members) settle(digest uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.own.view != digest {
		return
	}
	m.own.step, m.own.settled = m.own.step+1, digest
	for _, x := range m.all {
		x.leaving = x.leaving && x.synced != digest
	}
}

// stable is called when all members have settled.
func (m *members) stable() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.all {
		x.lost = false
	}
}

// allSynced reports whether all other members of a view have it and have handed over
// what it gives to others, and whether those that leave have, unless they are
// silent.
func (m *members) allSynced(v *view) bool {
	digest := v.digest
	return m.each(v, func(x *member) bool { return x.synced == digest }) && m.noneOwes(digest)
}

func (m *members) noneOwes(digest uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.all {
		if x.synced != digest && (!x.gone || m.awaited(x)) {
			return false
		}
	}
	return true
}

// allSettled reports whether all other members of a view know that all are synced.
func (m *members) allSettled(v *view) bool {
	return m.each(v, func(x *member) bool { return x.settled == v.digest })
}

// each reports whether something holds for each member of a view but this one. One
// that was removed since is missed all the same: the view is over, and must not come
// to be that of all without it.
func (m *members) each(v *view, holds func(*member) bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range v.nodes {
		if n.id == m.self.id {
			continue
		}
		if x := m.all[n.id]; x == nil || x.incarnation != n.incarnation || x.gone || !holds(x) {
			return false
		}
	}
	return true
}

// awaited reports whether a member that leaves may still hand over. It is called
// with the mutex held.
func (m *members) awaited(x *member) bool {
	return x.leaving && time.Since(x.heard) < m.suspicion
}
