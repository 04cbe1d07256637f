package metrics

import "sync/atomic"

// table is a chained hash table whose readers take no lock: nodes never change
// once they are linked, and growing swaps the whole array. A map behind a
// pointer would copy everything for each new entry, sync.Map would allocate for
// each look-up. Writers are serialised by the owner.
type table[T any] struct {
	buckets atomic.Pointer[[]atomic.Pointer[node[T]]]
	count   int
}

type node[T any] struct {
	hash  uint64
	next  *node[T]
	value T
}

// find returns the chain in which an entry with this hash would be.
func (t *table[T]) find(hash uint64) *node[T] {
	buckets := t.buckets.Load()
	if buckets == nil {
		return nil
	}
	return (*buckets)[hash&uint64(len(*buckets)-1)].Load()
}

func (t *table[T]) add(hash uint64, value T) {
	buckets := t.buckets.Load()
	if buckets == nil || t.count >= len(*buckets) {
		buckets = grow(buckets)
		t.buckets.Store(buckets)
	}
	link(*buckets, hash, value)
	t.count++
}

// keep removes the entries of which keep returns false.
func (t *table[T]) keep(keep func(T) bool) {
	old := t.buckets.Load()
	if old == nil {
		return
	}
	fresh := make([]atomic.Pointer[node[T]], len(*old))
	t.count = 0
	for i := range *old {
		for n := (*old)[i].Load(); n != nil; n = n.next {
			if keep(n.value) {
				link(fresh, n.hash, n.value)
				t.count++
			}
		}
	}
	t.buckets.Store(&fresh)
}

func link[T any](buckets []atomic.Pointer[node[T]], hash uint64, value T) {
	head := &buckets[hash&uint64(len(buckets)-1)]
	head.Store(&node[T]{hash: hash, next: head.Load(), value: value})
}

func grow[T any](old *[]atomic.Pointer[node[T]]) *[]atomic.Pointer[node[T]] {
	if old == nil {
		first := make([]atomic.Pointer[node[T]], 8)
		return &first
	}
	bigger := make([]atomic.Pointer[node[T]], 2*len(*old))
	for i := range *old {
		for n := (*old)[i].Load(); n != nil; n = n.next {
			link(bigger, n.hash, n.value)
		}
	}
	return &bigger
}
