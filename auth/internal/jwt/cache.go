package jwt

import "sync"

// Cache remembers what became of tokens that were good. It is bounded: when a
// generation of entries is full the one before is forgotten. Entries are for
// the user to judge again: whether they have expired or been revoked is not the
// cache's to know.
type Cache[V any] struct {
	mu       sync.RWMutex
	size     int
	now, old map[string]V
}

// NewCache returns a cache of size to twice size entries.
func NewCache[V any](size int) *Cache[V] {
	return &Cache[V]{size: size, now: make(map[string]V)}
}

// Get returns the entry of a token.
func (c *Cache[V]) Get(token string) (V, bool) {
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
	}
	c.now[token] = v
}

// Remove forgets a token.
func (c *Cache[V]) Remove(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.now, token)
	delete(c.old, token)
}

// Len returns how many entries there are, some perhaps twice.
func (c *Cache[V]) Len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.now) + len(c.old)
}
