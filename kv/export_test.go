package kv

import (
	"context"
	"fmt"
	"testing"
	"time"

	pb "github.com/micro/go-platform/kv/proto"
)

// AwaitStable waits until k sees n members that agree.
func AwaitStable(tb testing.TB, k KV, n int) {
	tb.Helper()
	p := k.(*platform)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if v := p.view.Load(); v != nil && v.stable && len(v.nodes) == n {
			return
		}
	}
	v := p.view.Load()
	p.members.mu.Lock()
	defer p.members.mu.Unlock()
	for id, m := range p.members.all {
		tb.Logf("%s: %+v", id, *m)
	}
	tb.Fatalf("not %d stable members: view %x of %d, %+v, stable %v", n, v.digest, len(v.nodes), p.members.own, v.stable)
}

// AwaitJoined waits until k knows that it is in the registry.
func AwaitJoined(tb testing.TB, k KV) {
	tb.Helper()
	p := k.(*platform)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if self, _ := p.members.message(nil); !self.Gone {
			return
		}
	}
	tb.Fatal("not in the registry")
}

// Kill makes k as silent as a process that died: it answers nobody.
func Kill(k KV) { k.(*platform).end() }

// Owners returns the ring's look-up.
func Owners(names []string, replicas int) func(key string) []uint16 {
	r := newRing(names, replicas)
	return func(key string) []uint16 { return r.of(slotOf(key)) }
}

// LinkAge makes k renew its links so often.
func LinkAge(k KV, age time.Duration) { k.(*platform).linkAge = age }

// Linked returns how many members k has a link to.
func Linked(k KV) (n int) {
	p := k.(*platform)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, to := range p.peers {
		to.mu.Lock()
		if to.link != nil {
			n++
		}
		to.mu.Unlock()
	}
	return n
}

// Asked returns how many requests k awaits an answer of.
func Asked(k KV) (n int) {
	p := k.(*platform)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, to := range p.peers {
		to.mu.Lock()
		n += to.inflight
		if to.link != nil {
			n += len(to.link.flying)
		}
		to.mu.Unlock()
	}
	return n
}

// Owned returns how many of the members own the key.
func Owned(key string, members ...KV) (n int) {
	for _, k := range members {
		if v := k.(*platform).view.Load(); v.ring.owns(slotOf(key), v.self) {
			n++
		}
	}
	return n
}

// Exchange has a member answer a request of another.
func Exchange(k KV, req *pb.ExchangeRequest) (*pb.ExchangeResponse, error) {
	rsp := &pb.ExchangeResponse{}
	return rsp, (&handler{k.(*platform)}).Exchange(context.Background(), req, rsp)
}

// Digest is that of the view of k.
func Digest(k KV) uint64 { return k.(*platform).digest() }

// Retention makes k forget at the next Reap what was deleted so long ago. With 0
// it also offers no write again.
func Retention(k KV, d time.Duration) { k.(*platform).retention = d }

// Reap does what k does every ReaperEvent.
func Reap(k KV) { k.(*platform).clean(context.Background()) }

// Kept returns the value that k itself keeps, "gone" for one that was deleted,
// "" for none.
func Kept(k KV, key string) string {
	r := k.(*platform).records.read(key, true)
	switch {
	case r == nil:
		return ""
	case r.Gone:
		return "gone"
	}
	return string(r.Value)
}

// Told returns how many members k tells others about.
func Told(k KV) int {
	_, all := k.(*platform).members.message(nil)
	return len(all)
}

// Known returns how many k remembers, also those that left.
func Known(k KV) int {
	m := k.(*platform).members
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.all)
}

// Left makes k believe that so many members left.
func Left(k KV, n int) {
	m := k.(*platform).members
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range n {
		id := fmt.Sprint("left", i)
		m.all[id] = &member{node: node{id: id}, gone: true}
	}
}

// Flights are shared reads.
type Flights struct{ f flights }

// NewFlights returns none.
func NewFlights() *Flights { return &Flights{flights{by: make(map[string]*flight)}} }

// Do has read done, which returns a value.
func (f *Flights) Do(ctx context.Context, key string, read func() (string, error)) (string, error) {
	r, err := f.f.do(ctx, key, func() (*pb.Record, error) {
		value, err := read()
		return &pb.Record{Value: []byte(value)}, err
	})
	return string(r.GetValue()), err
}

// Busy returns how many keys are read.
func (f *Flights) Busy() int {
	f.f.mu.Lock()
	defer f.f.mu.Unlock()
	return len(f.f.by)
}

// Waits reports whether somebody waits for the next read of the key.
func (f *Flights) Waits(key string) bool {
	f.f.mu.Lock()
	defer f.f.mu.Unlock()
	now := f.f.by[key]
	return now != nil && now.next != nil
}

// Lease returns for how long one with that time of suspicion may answer in a view
// of two, when the other has said this.
func Lease(suspicion time.Duration, said *pb.ProbeResponse) time.Duration {
	m := &members{self: node{id: "self"}, all: make(map[string]*member), suspicion: suspicion}
	m.answered("address", time.Now(), said)
	return time.Until(m.lease([]node{m.self, m.all[said.Self.Id].node}))
}

// Heirs returns the owners of a slot to which a member hands its items when the
// members are those of the last view. The first one was stable; in those between
// it handed over, and knows no more of them.
func Heirs(self string, replicas, slot int, views ...[]string) (heirs []string) {
	var v *view
	for i, ids := range views {
		var nodes []node
		for _, id := range ids {
			nodes = append(nodes, node{id: id})
		}
		next := newView(digestOf(nodes, replicas), nodes, self, replicas, v)
		if i == 0 {
			next.since = []*roster{next.roster}
		} else {
			next.since, next.handed = v.since, v.handed
		}
		if i > 0 && i < len(views)-1 {
			next.handed = append(next.handed, next.roster)
		}
		v = next
	}
	for _, i := range v.heirs(slot) {
		heirs = append(heirs, v.nodes[i].id)
	}
	return heirs
}

// SlotOf returns the slot of a key.
func SlotOf(key string) int { return slotOf(key) }

// Reincarnated reports whether a member takes another incarnation when it hears that
// it is gone.
func Reincarnated(leaving bool) bool {
	m := &members{self: node{id: "self", incarnation: 1}, all: make(map[string]*member), suspicion: time.Second, leaving: leaving}
	m.answered("address", time.Now(), &pb.ProbeResponse{
		Self: &pb.Member{Id: "other", Incarnation: 1}, Members: []*pb.Member{{Id: "self", Incarnation: 1, Gone: true}},
	})
	return m.self.incarnation != 1
}

// Council is what members know of each other, without a network: the test says which
// member asks which.
type Council []*members

// NewCouncil returns n members that have not heard of each other.
func NewCouncil(n int, suspicion time.Duration) Council {
	c := make(Council, n)
	for i := range c {
		c[i] = &members{self: node{id: fmt.Sprint(i), incarnation: 1}, all: make(map[string]*member), suspicion: suspicion, joined: true}
	}
	return c
}

// Ask has one member probe another, which answers or does not.
func (c Council) Ask(from, to int, answers bool) {
	if !answers {
		c[from].failed(c[to].self)
		return
	}
	rsp := &pb.ProbeResponse{}
	rsp.Self, rsp.Members = c[to].message(nil)
	c[from].answered("address", time.Now(), rsp)
}

// Bury returns the members that a member removes, while the registry has all.
func (c Council) Bury(i int) []string {
	var registered []string
	for _, m := range c {
		registered = append(registered, m.self.id)
	}
	return c.BuryWith(i, registered...)
}

// BuryWith is Bury while the registry has these.
func (c Council) BuryWith(i int, registered ...string) []string {
	return c[i].bury(func() ([]string, error) { return registered, nil })
}

// Leave has a member tell all that ask that it leaves.
func (c Council) Leave(i int) { c[i].leaving = true }

// Left returns for how long a member may answer for its view.
func (c Council) Left(i int) time.Duration {
	nodes, _ := c[i].nodes()
	return time.Until(c[i].lease(nodes))
}

// Stable makes the view of some members the last that was stable for them.
func (c Council) Stable(ids ...int) {
	var nodes []node
	for _, i := range ids {
		nodes = append(nodes, c[i].self)
	}
	for self, i := range ids {
		c[i].electorate([]*roster{{nodes: nodes, self: self}})
	}
}

// Restart makes a member another one of the same name, which knows nobody.
func (c Council) Restart(i int) {
	m := c[i]
	c[i] = &members{self: node{id: m.self.id, incarnation: m.self.incarnation + 1}, all: make(map[string]*member), suspicion: m.suspicion, joined: true}
}

// Voted returns whether a member of a view of three counts the view as settled when it
// is told so by both others, and one of them was removed since.
func Voted() (before, after bool) {
	m := &members{self: node{id: "a"}, all: make(map[string]*member), suspicion: time.Second}
	v := &view{digest: 7, roster: &roster{nodes: []node{{id: "a"}, {id: "b"}, {id: "c"}}}}
	for _, id := range []string{"b", "c"} {
		m.all[id] = &member{node: node{id: id}}
	}
	m.all["b"].settled, m.all["b"].synced = 7, 7
	before = m.allSettled(v) || m.allSynced(v)
	m.all["c"].gone = true // after the view was made, and before it is replaced
	return before, m.allSettled(v) || m.allSynced(v)
}

// RemovedMeanwhile has k hear from another member that it was removed. Another loop
// of k installs what is known before that which heard so.
func RemovedMeanwhile(k KV) {
	p := k.(*platform)
	p.members.mu.Lock()
	var other *member
	for _, x := range p.members.all {
		other = x
	}
	said := &pb.ProbeResponse{
		Self:    &pb.Member{Id: other.id, Address: other.address, Incarnation: other.incarnation},
		Members: []*pb.Member{{Id: p.members.self.id, Incarnation: p.members.self.incarnation, Gone: true}},
	}
	p.members.mu.Unlock()
	p.members.answered(other.address, time.Now(), said)
	p.install()
}
