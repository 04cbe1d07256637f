// Package lru is a map bounded in bytes that evicts what was not used for
// longest, and lets a caller look at an entry and change it as one step.
package lru

import (
	"hash/maphash"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Overhead is what an entry counts beside its key and value, in bytes.
const Overhead = 200

const (
	shardBytes = 4 << 20 // a large cache has shards of at least this
	maxShards  = 64
)

// Value is what can be kept.
type Value interface {
	// Size returns the bytes of the value, without the key.
	Size() int
}

// Cache is safe for concurrent use. Each shard evicts by itself.
type Cache[V Value] struct {
	seed   maphash.Seed
	shards []shard[V]
}

type shard[V Value] struct {
	mu      sync.Mutex
	entries *simplelru.LRU[string, V]
	bytes   int64
	max     int64
	evicted uint64
}

// New returns a cache of at most about maxBytes.
func New[V Value](maxBytes int64) *Cache[V] {
	n := 1
	for n < maxShards && int64(n)*2*shardBytes <= maxBytes {
		n *= 2
	}
	c := &Cache[V]{seed: maphash.MakeSeed(), shards: make([]shard[V], n)}
	for i := range c.shards {
		s := &c.shards[i]
		s.max = maxBytes / int64(n)
		// It counts entries, this package bytes: its own bound is never met. The
		// error is about a bound that is not positive.
		s.entries, _ = simplelru.NewLRU[string, V](1<<31-1, func(k string, v V) { s.bytes -= size(k, v) })
	}
	return c
}

func size[V Value](key string, v V) int64 { return int64(len(key) + v.Size() + Overhead) }

func (c *Cache[V]) shard(key string) *shard[V] {
	return &c.shards[maphash.String(c.seed, key)&uint64(len(c.shards)-1)]
}

// Get returns the value and counts as a use.
func (c *Cache[V]) Get(key string) (V, bool) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries.Get(key)
}

// Do hands the value to f, ok being false when there is none, and then keeps
// what f returns, or removes the entry when keep is false. Nobody else sees or
// changes the entry meanwhile; f must not call the cache.
func (c *Cache[V]) Do(key string, f func(v V, ok bool) (next V, keep bool)) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.entries.Get(key)
	next, keep := f(old, ok)
	if ok {
		s.entries.Remove(key)
	}
	if !keep {
		return
	}
	s.entries.Add(key, next)
	s.bytes += size(key, next)
	for s.bytes > s.max && s.entries.Len() > 0 {
		s.entries.RemoveOldest()
		s.evicted++
	}
}

// Range calls f with every entry until f returns false, and removes those for
// which drop is true. Entries that come or change meanwhile may be missed.
func (c *Cache[V]) Range(f func(key string, v V) (drop, more bool)) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		keys := s.entries.Keys()
		s.mu.Unlock()
		for _, key := range keys {
			s.mu.Lock()
			v, ok := s.entries.Peek(key)
			more := true
			if ok {
				var drop bool
				if drop, more = f(key, v); drop {
					s.entries.Remove(key)
				}
			}
			s.mu.Unlock()
			if !more {
				return
			}
		}
	}
}

// Clear removes everything.
func (c *Cache[V]) Clear() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.entries.Purge()
		s.mu.Unlock()
	}
}

// Stats returns the entries, their bytes and how many were evicted so far.
func (c *Cache[V]) Stats() (entries int, bytes int64, evicted uint64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		entries += s.entries.Len()
		bytes += s.bytes
		evicted += s.evicted
		s.mu.Unlock()
	}
	return entries, bytes, evicted
}
