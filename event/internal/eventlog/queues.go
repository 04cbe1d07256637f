package eventlog

import (
	"container/heap"
	"maps"
	"slices"
	"time"
)

// sequences is a heap of sequences, the lowest first.
type sequences []uint64

func (h sequences) Len() int           { return len(h) }
func (h sequences) Less(i, j int) bool { return h[i] < h[j] }
func (h sequences) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *sequences) Push(x any) { *h = append(*h, x.(uint64)) }

// Pop implements heap.Interface.
func (h *sequences) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// deadlines is a heap of the items whose lease or delay ends, the next first.
type deadlines []*item

func (h deadlines) Len() int           { return len(h) }
func (h deadlines) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h deadlines) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push implements heap.Interface.
func (h *deadlines) Push(x any) {
	it := x.(*item)
	it.place = len(*h)
	*h = append(*h, it)
}

// Pop implements heap.Interface.
func (h *deadlines) Pop() any {
	old := *h
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	it.place = nowhere
	return it
}

// nowhere is the place of an item that waits for nothing.
const nowhere = -1

// at puts the item among those that wait, or moves it there.
func (h *deadlines) at(it *item, due time.Time) {
	it.due = due
	if it.place == nowhere {
		heap.Push(h, it)
	} else {
		heap.Fix(h, it.place)
	}
}

// drop removes the item from those that wait.
func (h *deadlines) drop(it *item) {
	if it.place != nowhere {
		heap.Remove(h, it.place)
	}
}

func sortedKeys(items map[uint64]*item) []uint64 { return slices.Sorted(maps.Keys(items)) }
