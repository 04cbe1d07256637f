package kv

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// node is one life of a member: who comes back after a restart is another.
type node struct {
	id          string
	incarnation uint64
	address     string
}

// view is who the members are, as one of them sees it. It is immutable. Members
// serve each other only when their views have the same digest.
//
// A view is stable once every member has it and has handed its items to their
// new owners. Until then a member answers for a slot only if it owned it in the
// last stable view (prev), or it could miss what was acknowledged by those who
// owned it then: so the quorums of two views meet, and a key's operations are in
// one of them.
type view struct {
	digest uint64
	nodes  []node // by id
	self   int    // index of this member, -1 when it is none
	ring   *ring
	stable bool
	prev   *view // itself when it is stable; nil for one that has just come
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
// of one of the last views if that had the same members.
func newView(digest uint64, nodes []node, self string, replicas int, last ...*view) *view {
	v := &view{digest: digest, nodes: nodes, self: slices.IndexFunc(nodes, func(n node) bool { return n.id == self })}
	for _, old := range last {
		if old != nil && slices.EqualFunc(old.nodes, nodes, func(a, b node) bool { return a.id == b.id }) {
			v.ring = old.ring
			return v
		}
	}
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.id
	}
	v.ring = newRing(names, replicas)
	return v
}

// ready tells whether this member has all that was acknowledged of a slot.
func (v *view) ready(slot int) bool {
	return v.stable || v.prev != nil && v.prev.ring.owns(slot, v.prev.self)
}

// heirs are the owners of a slot that may lack its items: all but this member
// and those that owned it already.
func (v *view) heirs(slot int) (heirs []uint16) {
	for _, i := range v.ring.of(slot) {
		if int(i) == v.self || v.prev != nil && v.prev.had(slot, v.nodes[i]) {
			continue
		}
		heirs = append(heirs, i)
	}
	return heirs
}

func (v *view) had(slot int, n node) bool {
	for _, i := range v.ring.of(slot) {
		if v.nodes[i].id == n.id && v.nodes[i].incarnation == n.incarnation {
			return true
		}
	}
	return false
}
