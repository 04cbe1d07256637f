package jwt

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
)

// Cache remembers what became of tokens that were good. It is bounded: when a
// generation of entries is full the one before is forgotten. Entries are for
// the user to judge again: whether they have expired or been revoked is not the
// cache's to know.
type Cache[V any] struct {
	// front holds the entry of each slot that was put last, so that most are found
	// without the lock, whose readers on many processors wait for each other. It
	// is written while the lock is held.
	front [slots]atomic.Pointer[entry[V]]

	mu       sync.RWMutex
	size     int
	now, old map[string]V
}

type entry[V any] struct {
	token string
	value V
}

const slots = 1 << 10

// slot returns where in the front a token may be. A token ends in its signature,
// which nobody can choose.
func slot(token string) int {
	var end [8]byte
	copy(end[:], token[max(0, len(token)-8):])
	return int(binary.LittleEndian.Uint64(end[:]) * 0x9e3779b97f4a7c15 >> 54)
}

// NewCache returns a cache of size to twice size entries.
func NewCache[V any](size int) *Cache[V] {
	return &Cache[V]{size: size, now: make(map[string]V)}
}

// Get returns the entry of a token.
func (c *Cache[V]) Get(token string) (V, bool) {
	if e := c.front[slot(token)].Load(); e != nil && e.token == token {
		return e.value, true
	}
	c.mu.RLock()
	v, ok := c.now[token]
	aged := false
	if !ok {
		v, aged = c.old[token]
	}
	c.mu.RUnlock()
	if aged {
		c.Put(token, v)
	}
	return v, ok || aged
}

// Put remembers a token.
func (c *Cache[V]) Put(token string, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.now) >= c.size {
		c.old, c.now = c.now, make(map[string]V)
		for i := range c.front { // what is used comes again, and stays
			c.front[i].Store(nil)
		}
	}
	c.now[token] = v
	c.front[slot(token)].Store(&entry[V]{token, v})
}

// Remove forgets a token.
func (c *Cache[V]) Remove(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.now, token)
	delete(c.old, token)
	first := &c.front[slot(token)]
	if e := first.Load(); e != nil && e.token == token {
		first.Store(nil)
	}
}

// Len returns how many entries there are, some perhaps twice.
func (c *Cache[V]) Len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.now) + len(c.old)
}
