package kv

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// node is one life of a member: after a restart a member is another node.
type node struct {
	id          string
	incarnation uint64
	address     string
}

// roster is the members and the slots that they own. It is immutable.
type roster struct {
	nodes []node // by id
	self  int    // index of this member, -1 when it is none
	ring  *ring
}

// view is the membership as one member sees it. It is immutable. Members serve
// each other only when their views have the same digest.
//
// A change takes three steps, see state. A member is synced when it has handed
// its items to their new owners; it settles when it knows that all are synced,
// and drops what it does not own any more; the view is stable for it when it
// knows that all have settled. Before that it answers for a slot only if it owned
// it in the last view that was stable for it and in all for which it settled
// since. Let B be the last view that was stable for anybody. All members of B
// settled in it first, so that whoever answers in a later view owned the slot in
// B: as long as no later view is stable, the quorums of all of them are among the
// owners of B, and meet.
//
// Once a view is stable no other member than an owner has an item of a slot: the
// others dropped theirs before they settled.
type view struct {
	*roster
	digest uint64
	stable bool
	since  []*roster // the last stable view and those settled since; none for one that has just come
	handed []*roster // those since in which this member handed over, so that others may have settled
	meets  bool      // its quorums meet those of since
}

// digestOf sorts the nodes, too.
func digestOf(nodes []node, replicas int) uint64 {
	slices.SortFunc(nodes, func(a, b node) int { return cmp.Compare(a.id, b.id) })
	h := xxhash.New()
	_, _ = h.Write([]byte{byte(replicas)}) // it never fails, here and below
	for _, n := range nodes {
		_, _ = h.WriteString(n.id + "\x00")
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, n.incarnation))
	}
	return max(1, h.Sum64())
}

// newView returns the view of the nodes that digestOf sorted. It takes the ring
// of the last view if that had the same members.
func newView(digest uint64, nodes []node, self string, replicas int, last *view) *view {
	v := &view{digest: digest, roster: &roster{nodes: nodes, self: slices.IndexFunc(nodes, func(n node) bool { return n.id == self })}}
	if last != nil && slices.EqualFunc(last.nodes, nodes, func(a, b node) bool { return a.id == b.id }) {
		v.ring = last.ring
		return v
	}
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.id
	}
	v.ring = newRing(names, replicas)
	return v
}

// ready reports whether this member may answer for a slot that it owns.
func (v *view) ready(slot int) bool {
	return v.stable || v.meets && v.had(func(r *roster) bool { return r.ring.owns(slot, r.self) })
}

// had reports whether something holds for each of the views since the last stable
// one.
func (v *view) had(owned func(r *roster) bool) bool {
	return len(v.since) > 0 && !slices.ContainsFunc(v.since, func(r *roster) bool { return !owned(r) })
}

// kept reports whether something holds also for each of the views in which others
// may have settled, and dropped what they did not own.
func (v *view) kept(owned func(r *roster) bool) bool {
	return v.had(owned) && !slices.ContainsFunc(v.handed, func(r *roster) bool { return !owned(r) })
}

// heirs are the owners of a slot that may lack its items: all but this member
// and those that owned it all the time. These may have missed a write, which their
// quorums make up for unless they have become smaller.
func (v *view) heirs(slot int) (heirs []uint16) {
	enough := v.kept(func(r *roster) bool { return r.ring.replicas <= v.ring.replicas })
	for _, i := range v.ring.of(slot) {
		owned := func(r *roster) bool { return r.owned(slot, v.nodes[i]) }
		if int(i) != v.self && !(enough && v.kept(owned)) {
			heirs = append(heirs, i)
		}
	}
	return heirs
}

// shared reports whether another member has owned the slot since the last stable
// view, and so has its items.
func (v *view) shared(slot int) bool {
	return slices.ContainsFunc(v.ring.of(slot), func(i uint16) bool {
		return int(i) != v.self && v.kept(func(r *roster) bool { return r.owned(slot, v.nodes[i]) })
	})
}

// owned reports whether a node owned the slot.
func (r *roster) owned(slot int, n node) bool {
	return slices.ContainsFunc(r.ring.of(slot), func(i uint16) bool {
		return r.nodes[i].id == n.id && r.nodes[i].incarnation == n.incarnation
	})
}
