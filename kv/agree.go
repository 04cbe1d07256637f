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

// allSynced reports whether all other members have the view and have handed over
// what it gives to others, and whether those that leave have, unless they are
// silent.
func (m *members) allSynced(digest uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.all {
		if x.synced != digest && (!x.gone || m.awaited(x)) {
			return false
		}
	}
	return true
}

// allSettled reports whether all other members know that all are synced.
func (m *members) allSettled(digest uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.all {
		if !x.gone && x.settled != digest {
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
