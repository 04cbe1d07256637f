// Package memstore is the store of locks within one process.
package memstore

import (
	"context"
	"slices"
	"strconv"
	stdsync "sync"
	"time"

	"github.com/micro/go-platform/sync/internal/queue"
)

// Server is what a coordination server is for others. Its locks are gone with
// the process.
type Server struct {
	mu       stdsync.Mutex
	revision uint64
	leases   map[string]*lease
	queues   map[string][]entry
	values   map[string][]byte
	changed  chan struct{} // closed and replaced at every change
}

type lease struct {
	ttl   time.Duration
	timer *time.Timer
	ended chan struct{}
}

type entry struct {
	queue.Entry
	lease string
}

// NewServer returns an empty server.
func NewServer() *Server {
	return &Server{
		leases: map[string]*lease{}, queues: map[string][]entry{}, values: map[string][]byte{},
		changed: make(chan struct{}),
	}
}

// Store returns the server as what package queue needs.
func (s *Server) Store() queue.Store { return store{s} }

// change is called with the mutex held.
func (s *Server) change() uint64 {
	s.revision++
	close(s.changed)
	s.changed = make(chan struct{})
	return s.revision
}

// expire ends a lease and removes its entries.
func (s *Server) expire(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.leases[id]
	if !ok {
		return
	}
	l.timer.Stop()
	delete(s.leases, id)
	close(l.ended)
	for key := range s.queues {
		s.remove(key, func(e entry) bool { return e.lease == id })
	}
	s.change()
}

// remove is called with the mutex held.
func (s *Server) remove(key string, which func(entry) bool) {
	kept := slices.DeleteFunc(slices.Clone(s.queues[key]), which)
	if len(kept) == 0 {
		delete(s.queues, key)
		return
	}
	s.queues[key] = kept
}

func (s *Server) has(ref queue.Ref) bool {
	return slices.ContainsFunc(s.queues[ref.Queue], func(e entry) bool { return e.Name == ref.Name && e.Order == ref.Order })
}

func (s *Server) list(key string) queue.Queue {
	q := queue.Queue{Revision: s.revision}
	for _, e := range s.queues[key] {
		q.Entries = append(q.Entries, e.Entry)
	}
	return q
}

type store struct{ *Server }

func (s store) String() string { return "memory" }
func (s store) Close() error   { return nil }

func (s store) Forbidden(error) bool { return false }

func (s store) Grant(_ context.Context, ttl time.Duration) (string, time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	id := strconv.FormatUint(s.revision, 10)
	s.leases[id] = &lease{ttl: ttl, timer: time.AfterFunc(ttl, func() { s.expire(id) }), ended: make(chan struct{})}
	return id, ttl, nil
}

func (s store) Renew(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.leases[id]
	if !ok || !l.timer.Reset(l.ttl) {
		return queue.ErrGone
	}
	return nil
}

func (s store) Revoke(_ context.Context, id string) error {
	s.expire(id)
	return nil
}

func (s store) Watch(ctx context.Context, id string) error {
	s.mu.Lock()
	l, ok := s.leases[id]
	s.mu.Unlock()
	if !ok {
		return nil
	}
	select {
	case <-l.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s store) Bound(_ context.Context, id string) (bound []queue.Ref, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, entries := range s.queues {
		for _, e := range entries {
			if e.lease == id {
				bound = append(bound, queue.Ref{Queue: key, Name: e.Name, Order: e.Order})
			}
		}
	}
	return bound, nil
}

func (s store) Enter(_ context.Context, lease, key, name string, value []byte) (queue.Queue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.leases[lease]; !ok {
		return queue.Queue{}, queue.ErrGone
	}
	if slices.ContainsFunc(s.queues[key], func(e entry) bool { return e.Name == name }) {
		return queue.Queue{}, queue.ErrExists
	}
	order := s.change()
	s.queues[key] = append(s.queues[key], entry{queue.Entry{Name: name, Order: order, Value: value}, lease})
	return s.list(key), nil
}

func (s store) Leave(_ context.Context, ref queue.Ref) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(ref.Queue, func(e entry) bool { return e.Name == ref.Name })
	s.change()
	return nil
}

func (s store) List(_ context.Context, key string) (queue.Queue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list(key), nil
}

func (s store) Wait(ctx context.Context, ref queue.Ref, from queue.Queue) error {
	for {
		s.mu.Lock()
		changed, revision := s.changed, s.revision
		gone := ref.Name != "" && !s.has(ref)
		s.mu.Unlock()
		if gone || ref.Name == "" && revision != from.Revision {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s store) Missing(_ context.Context, _ string, refs []queue.Ref) (missing []queue.Ref, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ref := range refs {
		if !s.has(ref) {
			missing = append(missing, ref)
		}
	}
	return missing, nil
}

func (s store) Load(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[key], nil
}

func (s store) Save(_ context.Context, key string, value []byte, _ string, holder queue.Ref) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.has(holder) {
		return queue.ErrGone
	}
	s.values[key] = value
	return nil
}
