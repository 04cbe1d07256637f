package queue

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	locks "github.com/micro/go-platform/sync"
)

// ticket is one acquisition, from entering the queue until it is given back.
type ticket struct {
	session *session
	ref     Ref  // its order, which is the fencing token, is known once it entered
	entered bool // guarded by the session's mu
	lost    chan struct{}
	ctx     *leaseContext
}

func newTicket(s *session, ref Ref) *ticket {
	t := &ticket{session: s, ref: ref, lost: make(chan struct{})}
	t.ctx = newLeaseContext(context.Background(), t)
	return t
}

// lose is called once, under the session's lock. Who hears that the ticket is
// lost finds its context ended, and why.
func (t *ticket) lose(why error) {
	t.end(why)
	close(t.lost)
}

// end ends the context of the ticket, with why as its cause.
func (t *ticket) end(why error) { t.ctx.cancel(fmt.Errorf("sync: %w", why)) }

func (t *ticket) isLost() bool {
	select {
	case <-t.lost:
		return true
	default:
		return !t.session.alive()
	}
}

func (t *ticket) check() (uint64, error) {
	if t.isLost() {
		return 0, t.session.loss()
	}
	return t.ref.Order, nil
}

// leaseContext ends with a ticket. It looks at the clock when it is asked, so
// that a process that was paused does not have to wait for its timers.
type leaseContext struct {
	context.Context
	cancel context.CancelCauseFunc
	ticket *ticket
}

func newLeaseContext(parent context.Context, t *ticket) *leaseContext {
	ctx, cancel := context.WithCancelCause(parent)
	return &leaseContext{ctx, cancel, t}
}

func (c *leaseContext) Err() error {
	if c.Context.Err() == nil && c.ticket.isLost() {
		c.cancel(fmt.Errorf("sync: %w", c.ticket.session.loss()))
	}
	return c.Context.Err()
}

// Value is what context.Cause asks first.
func (c *leaseContext) Value(key any) any {
	_ = c.Err() // ends the context if its time is over
	return c.Context.Value(key)
}

// join returns a ticket whose entry is about to be made, nil when the session
// gives none any more.
func (s *session) join(queue string) *ticket {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.retired {
		return nil
	}
	var name string
	if last := len(s.names) - 1; last >= 0 {
		name, s.names = s.names[last], s.names[:last]
	} else {
		name = uuid.NewString()
	}
	t := newTicket(s, Ref{Queue: queue, Name: name})
	s.tickets[name] = t
	return t
}

// entered tells that the ticket's entry was made: from now on it is missed.
func (s *session) entered(t *ticket, order uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.entered, t.ref.Order = true, order
}

func (s *session) held() (held []Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tickets {
		if t.entered {
			held = append(held, t.ref)
		}
	}
	return held
}

func (s *session) lose(refs []Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ref := range refs {
		if t, ok := s.tickets[ref.Name]; ok && t.ref == ref {
			delete(s.tickets, ref.Name)
			t.lose(locks.ErrLost)
		}
	}
}

// drop forgets a ticket and reports whether it was still held.
func (s *session) drop(t *ticket) (held bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropLocked(t)
}

func (s *session) dropLocked(t *ticket) (held bool) {
	held = s.tickets[t.ref.Name] == t
	if held {
		delete(s.tickets, t.ref.Name)
	}
	if s.retired {
		s.hurry()
	}
	return held
}
