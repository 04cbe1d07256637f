package srv

import (
	"sync"
	"time"
)

// recent counts things by key and forgets them after one to two windows, or
// earlier when there are more than limit of them. It is for what an outsider
// can make grow.
type recent[K comparable] struct {
	window time.Duration
	limit  int

	mu       sync.Mutex
	now, old map[K]int
	began    time.Time
}

func newRecent[K comparable](window time.Duration, limit int) *recent[K] {
	return &recent[K]{window: window, limit: limit, now: map[K]int{}, old: map[K]int{}}
}

// add adds n to the count of a key and returns what it is now.
func (r *recent[K]) add(key K, n int, at time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch past := at.Sub(r.began); {
	case past >= 2*r.window:
		r.now, r.old, r.began = map[K]int{}, map[K]int{}, at
	case past >= r.window || len(r.now) >= r.limit:
		r.now, r.old, r.began = map[K]int{}, r.now, at
	}
	if n != 0 {
		r.now[key] += n
	}
	return r.now[key] + r.old[key]
}

func (r *recent[K]) has(key K, at time.Time) bool { return r.add(key, 0, at) > 0 }
