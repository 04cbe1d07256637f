package queue

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
	locks "github.com/micro/go-platform/sync"
)

// session is a lease and the loop that renews it: one per TTL in use, shared
// by all locks that have it.
type session struct {
	queue *Queues
	store Store
	asked time.Duration // the TTL that locks asked for
	ttl   time.Duration
	lease string

	// deadline is when the server may end the lease, in time since base.
	base     time.Time
	deadline atomic.Int64
	done     chan struct{} // closed when the lease is over

	mu      sync.Mutex
	over    bool
	tickets map[string]*ticket
	litter  map[Ref]struct{} // entries that may be there and should not
	idle    int              // renewals in a row without a ticket
}

// grant begins a lease. A lease that may have been granted by a call that
// failed ends by itself.
func grant(ctx context.Context, q *Queues, ttl time.Duration) (*session, error) {
	began := time.Now()
	lease, granted, err := q.store.Grant(ctx, ttl)
	if err != nil {
		return nil, err
	}
	s := &session{
		queue: q, store: q.store, asked: ttl, ttl: granted, lease: lease, base: began,
		done: make(chan struct{}), tickets: map[string]*ticket{}, litter: map[Ref]struct{}{},
	}
	s.deadline.Store(int64(granted))
	return s, nil
}

// alive compares monotonic clocks: it is right even if nothing in the
// background has run since the process was paused.
func (s *session) alive() bool { return s.left() > 0 }

func (s *session) left() time.Duration {
	return time.Duration(s.deadline.Load()) - time.Since(s.base)
}

// renew is the loop of the session. It ends with ctx, with the lease, or when
// nobody has used the session for a while.
func (s *session) renew(ctx context.Context) {
	defer s.end()
	wait := s.ttl / 3
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			s.revoke()
			return
		case <-timer.C:
		}
		if !s.alive() {
			return
		}
		began := time.Now()
		bounded, cancel := context.WithTimeout(ctx, min(s.left(), max(s.ttl/3, time.Second)))
		err := s.store.Renew(bounded, s.lease)
		switch {
		case err == nil:
			s.deadline.Store(int64(began.Sub(s.base) + s.ttl))
			wait = s.ttl / 3
			s.tidy(bounded)
		case errors.Is(err, ErrGone):
			cancel()
			return
		default:
			wait = min(s.ttl/10, max(s.left(), 0))
		}
		cancel()
		if s.unused() {
			s.revoke()
			return
		}
	}
}

// tidy finds entries that somebody removed and removes those that were left.
// What fails now is done at the next renewal.
func (s *session) tidy(ctx context.Context) {
	held, litter := s.entries()
	if len(held) > 0 {
		missing, err := s.store.Missing(ctx, s.lease, held)
		if err == nil {
			s.lose(missing)
		}
	}
	for _, ref := range litter {
		_ = s.sweep(ctx, ref) // again at the next renewal
	}
}

func (s *session) entries() (held, litter []Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tickets {
		if t.entered {
			held = append(held, t.ref)
		}
	}
	for ref := range s.litter {
		litter = append(litter, ref)
	}
	return held, litter
}

func (s *session) lose(refs []Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ref := range refs {
		if t, ok := s.tickets[ref.Name]; ok {
			delete(s.tickets, ref.Name)
			t.lose()
		}
	}
}

// unused tells that the session had no ticket for three renewals, and takes it
// out of use then.
func (s *session) unused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tickets) > 0 || len(s.litter) > 0 {
		s.idle = 0
		return false
	}
	s.idle++
	if s.idle < 3 {
		return false
	}
	s.over = true
	return true
}

// end loses everything that is still held.
func (s *session) end() {
	s.mu.Lock()
	s.over = true
	for name, t := range s.tickets {
		delete(s.tickets, name)
		t.lose()
	}
	s.mu.Unlock()
	close(s.done)
	s.queue.forget(s)
}

// revoke is the last thing a session does: nobody has to wait for the TTL.
func (s *session) revoke() {
	ctx, cancel := context.WithTimeout(context.Background(), lifecycle.FlushTimeout/2)
	defer cancel()
	if err := s.store.Revoke(ctx, s.lease); err != nil && !errors.Is(err, ErrGone) {
		s.queue.options.Logger.Warn("sync: what is held stays so until its lease ends",
			"store", s.store.String(), "ttl", s.ttl, "error", err)
	}
}

// add registers a ticket whose entry is about to be made, or refuses when the
// session is over.
func (s *session) add(t *ticket) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.tickets[t.ref.Name] = t
	return true
}

// entered tells that the ticket's entry was made: from now on it is missed.
func (s *session) entered(t *ticket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.entered = true
}

// drop forgets a ticket and tells whether it was still held. Its entry is
// litter until swept.
func (s *session) drop(t *ticket) (held bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, held = s.tickets[t.ref.Name]
	delete(s.tickets, t.ref.Name)
	if !s.over {
		s.litter[t.ref] = struct{}{}
	}
	return held
}

// sweep removes litter from the server.
func (s *session) sweep(ctx context.Context, ref Ref) error {
	if err := s.store.Leave(ctx, ref.Queue, ref.Name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.litter, ref)
	return nil
}

// ticket is one acquisition, from entering the queue until it is given back.
type ticket struct {
	session *session
	ref     Ref
	entered bool // guarded by the session's mu
	token   uint64
	lost    chan struct{}
	ctx     *leaseContext
}

func newTicket(s *session, ref Ref) *ticket {
	t := &ticket{session: s, ref: ref, lost: make(chan struct{})}
	t.ctx = newLeaseContext(t)
	return t
}

// lose is called once, under the session's lock.
func (t *ticket) lose() {
	close(t.lost)
	t.ctx.cancel(locks.ErrLost)
}

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
		return 0, locks.ErrLost
	}
	return t.token, nil
}

// leaseContext ends with a ticket. Its Err looks at the clock, so that a
// process that was paused does not have to wait for its timers.
type leaseContext struct {
	context.Context
	cancel context.CancelCauseFunc
	ticket *ticket
}

func newLeaseContext(t *ticket) *leaseContext {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &leaseContext{ctx, cancel, t}
}

func (c *leaseContext) Err() error {
	if err := c.Context.Err(); err != nil {
		return err
	}
	if c.ticket.isLost() {
		return context.Canceled
	}
	return nil
}
