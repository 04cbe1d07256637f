package kv

import (
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"
	"github.com/stathat/consistent"
)

const (
	// slots are what members own; a key belongs to one of them for ever.
	slots = 4096
	// points of a member on the ring. The usual 20 leave the most loaded of 100
	// members with 2.2 times the mean.
	points = 100
	// slack is how much more than the mean of slots a member may own.
	slack = 1.1
)

// ring says which members own a slot: those that follow it on a circle of
// consistent hashes, but for those that own their share already, as in
// V. Mirrokni, M. Thorup, M. Zadimoghaddam, "Consistent Hashing with Bounded
// Loads", SODA 2018. Since slots are bounded and not keys, every member finds
// the same owners without knowing the keys of others. It is immutable.
type ring struct {
	replicas int
	owners   []uint16 // by slot, replicas of each, as indexes of the names
}

// newRing takes names in an order that is everybody's.
func newRing(names []string, replicas int) *ring {
	r := &ring{replicas: min(replicas, len(names))}
	if r.replicas == 0 {
		return r
	}
	circle, index := consistent.New(), make(map[string]uint16, len(names))
	circle.NumberOfReplicas = points
	circle.Set(names)
	for i, name := range names {
		index[name] = uint16(i)
	}
	bound := int(slack*float64(slots*r.replicas)/float64(len(names))) + 1
	load := make([]int, len(names))
	r.owners = make([]uint16, 0, slots*r.replicas)
	for slot := range slots {
		for _, i := range r.pick(circle, index, slot, func(i uint16) bool { return load[i] < bound }) {
			r.owners = append(r.owners, i)
			load[i]++
		}
	}
	return r
}

// pick returns the first members after the slot that have room, and if those are
// too few any others.
func (r *ring) pick(circle *consistent.Consistent, index map[string]uint16, slot int, room func(uint16) bool) []uint16 {
	for n := r.replicas + 2; ; n *= 4 {
		order, _ := circle.GetN("slot"+strconv.Itoa(slot), n) // the error is about an empty circle
		var picked, full []uint16
		for _, name := range order {
			if i := index[name]; room(i) {
				picked = append(picked, i)
			} else {
				full = append(full, i)
			}
		}
		if len(picked) >= r.replicas {
			return picked[:r.replicas]
		}
		if n >= len(index) {
			return append(picked, full...)[:r.replicas]
		}
	}
}

func slotOf(key string) int { return int(xxhash.Sum64String(key) % slots) }

// of returns the owners of a slot, as indexes of the names.
func (r *ring) of(slot int) []uint16 {
	return r.owners[slot*r.replicas : (slot+1)*r.replicas]
}

func (r *ring) owns(slot int, i int) bool {
	return i >= 0 && r.replicas > 0 && slices.Contains(r.of(slot), uint16(i))
}
