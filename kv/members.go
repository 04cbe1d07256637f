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
	state
	gone    bool
	leaving bool                 // with gone: it still hands its items over
	heard   time.Time            // when it answered last
	failing bool                 // it did not answer the last probe
	differs string               // of its options from those of this member
	granted time.Time            // until then it does not remove this member, see lease
	lost    bool                 // removed since the last stable view
	saw     map[string]time.Time // when it had heard of others, by this clock
}

// members is what this member knows of the members. All ages are by the clock of
// this process, never by another's. It decides, and does no I/O.
type members struct {
	mu        sync.Mutex
	self      node
	own       state
	joined    bool // this member is in the registry
	leaving   bool
	removed   bool // the others went on without this member, and no view says so yet
	all       map[string]*member
	since     []*roster // of the view: a majority of each has to agree to a removal
	suspicion time.Duration
}

const (
	maxGone = 1000 // remembered of those that left
	forever = 1000 * 24 * time.Hour
	recent  = 10 // times of suspicion for which all are told which members left
)

// nodes returns the members of the view, and once whether the others went on without
// this one since it was asked last: then it is another node.
func (m *members) nodes() (nodes []node, removed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.all {
		if !x.gone {
			nodes = append(nodes, x.node)
		}
	}
	if !m.leaving && (m.joined || len(nodes) == 0) {
		nodes = append(nodes, m.self)
	}
	removed, m.removed = m.removed, false
	return nodes, removed
}

// alive returns the members to probe: those that leave, too, until they are done.
func (m *members) alive() (nodes []node) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.all {
		if !x.gone || m.awaited(x) {
			nodes = append(nodes, x.node)
		}
	}
	return nodes
}

// others returns how many members there are but this one.
func (m *members) others() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.all {
		if !x.gone {
			n++
		}
	}
	return n
}

// message is what one is told that said what it knows. Who left long ago is
// mentioned only to those that do not know it, and to himself.
func (m *members) message(said *pb.ProbeRequest) (self *pb.Member, all []*pb.Member) {
	believed := make(map[string]bool)
	for _, x := range append(said.GetMembers(), said.GetSelf()) {
		believed[x.GetId()] = !x.GetGone()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	self = &pb.Member{Id: m.self.id, Address: m.self.address, Incarnation: m.self.incarnation, Gone: m.leaving || !m.joined, Joining: !m.leaving && !m.joined}
	m.own.tell(self)
	for _, x := range m.all {
		age := time.Since(x.heard)
		if x.gone && age > recent*m.suspicion && !believed[x.id] {
			continue
		}
		other := &pb.Member{Id: x.id, Address: x.address, Incarnation: x.incarnation, Gone: x.gone, HeardMs: age.Milliseconds()}
		x.tell(other)
		all = append(all, other)
	}
	return self, all
}

// ageOf is what a member says of when it heard of another. Nobody has heard of
// somebody in the future.
func ageOf(x *pb.Member) time.Duration {
	return time.Duration(min(max(0, x.HeardMs), forever.Milliseconds())) * time.Millisecond
}

// unknown reports whether a claimed member is not known yet and worth a probe.
func (m *members) unknown(x *pb.Member) bool {
	if x.GetId() == "" || x.Id == m.self.id {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	known, ok := m.all[x.Id]
	return !x.Gone && (!ok || x.Incarnation > known.incarnation)
}

// news reports whether a known member is further than when it was asked, and so
// should be asked again.
func (m *members) news(said *pb.Member) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	x, ok := m.all[said.GetId()]
	return ok && (!x.gone || x.leaving) && said.Step > x.step
}

// answered takes in what a member said that was called, at some moment, at the
// address of the registry. It reports whether the others removed this member, and
// whether others should be asked.
func (m *members) answered(address string, called time.Time, rsp *pb.ProbeResponse) (removed bool, ask bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.all[rsp.Self.Id]
	leaving := rsp.Self.Gone && !rsp.Self.Joining
	switch {
	case rsp.Self.Joining && (x == nil || x.gone):
		return false, false // no member, at most a client
	case x == nil || rsp.Self.Incarnation > x.incarnation:
		x = &member{node: node{rsp.Self.Id, rsp.Self.Incarnation, address}}
		m.all[x.id] = x
	case rsp.Self.Incarnation < x.incarnation || x.gone && !(x.leaving && leaving):
		return false, false // the past
	}
	x.gone, x.leaving, x.heard, x.failing, x.address = rsp.Self.Gone, leaving, time.Now(), false, address
	x.learn(stateOf(rsp.Self))
	x.saw = make(map[string]time.Time, len(rsp.Members))
	for _, other := range rsp.Members {
		if other.Id == m.self.id {
			x.saw[other.Id] = x.heard.Add(-ageOf(other))
			switch {
			case m.leaving: // it is what this member said
			case other.Gone && other.Incarnation >= m.self.incarnation:
				m.self.incarnation, m.removed, removed = other.Incarnation+1, true, true
			case other.Incarnation == m.self.incarnation:
				x.granted = called.Add(m.grant(rsp) - ageOf(other))
			}
			continue
		}
		ask = m.hearsay(x, other) || ask
	}
	return removed, ask
}

// grant is for how long one that has just heard of this member will not remove
// it, by its own time of suspicion.
func (m *members) grant(rsp *pb.ProbeResponse) time.Duration {
	suspicion := m.suspicion
	if rsp.SuspicionMs > 0 {
		suspicion = time.Duration(min(rsp.SuspicionMs, forever.Milliseconds())) * time.Millisecond
	}
	return suspicion * 9 / 10 // clocks may differ in speed
}

// hearsay takes in what x said of another, and returns whether that should be
// asked itself.
func (m *members) hearsay(x *member, other *pb.Member) (ask bool) {
	x.saw[other.Id] = x.heard.Add(-ageOf(other))
	known := m.all[other.Id]
	switch {
	case known == nil && other.Gone:
		if len(m.all) >= 2*maxGone {
			break
		}
		// So that it does not come back as it was.
		m.all[other.Id] = &member{node: node{other.Id, other.Incarnation, other.Address}, gone: true, heard: x.saw[other.Id]}
	case known == nil || other.Incarnation > known.incarnation:
		return !other.Gone
	case other.Incarnation < known.incarnation:
	case other.Gone && !known.gone && known.failing && time.Since(known.heard) > m.suspicion:
		known.gone, known.lost = true, true // nor does it answer here
	default:
		known.learn(stateOf(other))
	}
	return false
}

// forget bounds what is remembered of members that left: the first to leave are
// forgotten first.
func (m *members) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	var gone []*member
	for _, x := range m.all {
		if x.gone && !x.lost {
			gone = append(gone, x)
		}
	}
	if len(gone) <= maxGone {
		return
	}
	slices.SortFunc(gone, func(a, b *member) int { return a.heard.Compare(b.heard) })
	for _, x := range gone[:len(gone)-maxGone] {
		delete(m.all, x.id)
	}
}

// differ notes how the options of a member differ from those of this one, and
// reports whether that is new.
func (m *members) differ(id, how string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.all[id]
	if x == nil || x.differs == how {
		return false
	}
	x.differs = how
	return how != ""
}

func (m *members) failed(n node) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if x, ok := m.all[n.id]; ok && x.incarnation == n.incarnation {
		x.failing = true
	}
}

// failing reports whether the node did not answer lately, so that others are asked
// first.
func (m *members) isFailing(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	x, ok := m.all[id]
	return ok && x.failing
}

// minority tells that at most half of the members have answered lately, so that
// it is these that may have been removed by the rest. One probe that failed does
// not count: a busy machine is late, too.
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

// bury removes the members that neither this one nor any other has heard of for the
// time of suspicion, if enough say so; if it is doubtful whether that is enough, those
// that the registry does not know either, see suffrage. It returns the removed.
func (m *members) bury(registered func() ([]string, error)) (gone []string) {
	m.mu.Lock()
	silent, unsure := m.silent()
	m.mu.Unlock()
	if len(unsure) > 0 {
		if known, err := registered(); err == nil { // asks the registry
			silent = append(silent, slices.DeleteFunc(unsure, func(id string) bool { return slices.Contains(known, id) })...)
		}
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
