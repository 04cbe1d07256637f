package queue

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

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
	litter  map[Ref]int // entries that may be there and should not, and how often to remove them
	names   []string    // to be used again
	idle    int         // renewals in a row without a ticket

	dirty chan struct{} // litter that does not wait for the next renewal
}

// unsure is how many times an entry is removed of which nobody knows whether it
// was made: the request that makes it may still be on its way.
const unsure = 3

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
		done: make(chan struct{}), tickets: map[string]*ticket{}, litter: map[Ref]int{}, dirty: make(chan struct{}, 1),
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
		if s.pause(ctx, wait) != nil {
			s.revoke()
			return
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

// pause waits for d, sweeping what is in a hurry, or returns the error of ctx.
func (s *session) pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		case <-s.dirty:
			bounded, cancel := context.WithTimeout(ctx, min(s.ttl/10, lifecycle.FlushTimeout, s.left()))
			s.clean(bounded)
			cancel()
		}
	}
}

// hurry asks for the litter to be swept at once.
func (s *session) hurry() {
	select {
	case s.dirty <- struct{}{}:
	default: // it will be
	}
}

// tidy finds entries that somebody removed and removes those that were left.
// What fails now is done at the next renewal.
func (s *session) tidy(ctx context.Context) {
	if held := s.held(); len(held) > 0 {
		missing, err := s.store.Missing(ctx, s.lease, held)
		if err == nil {
			s.lose(missing)
		}
	}
	s.clean(ctx)
}

func (s *session) clean(ctx context.Context) {
	s.mu.Lock()
	litter := slices.Collect(maps.Keys(s.litter))
	s.mu.Unlock()
	for _, ref := range litter {
		if s.store.Leave(ctx, ref) == nil { // else again at the next renewal
			s.swept(ref)
		}
	}
}

func (s *session) swept(ref Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.litter[ref]--; s.litter[ref] <= 0 {
		delete(s.litter, ref)
	}
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

// join returns a ticket whose entry is about to be made, nil when the session
// is over.
func (s *session) join(queue string) *ticket {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
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

// drop forgets a ticket and tells whether it was still held.
func (s *session) drop(t *ticket) (held bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held = s.tickets[t.ref.Name] == t
	if held {
		delete(s.tickets, t.ref.Name)
	}
	return held
}

// leave removes the entry of a ticket that was dropped, now or in the background.
func (s *session) leave(ctx context.Context, t *ticket) error {
	err := s.store.Leave(ctx, t.ref)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.names = append(s.names, t.ref.Name)
		return nil
	}
	s.litter[t.ref] = 1
	s.hurry()
	return err
}

// doubt is leave for a ticket of which nobody knows whether its entry was made.
func (s *session) doubt(t *ticket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.litter[t.ref] = unsure
	s.hurry()
}

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
	return t.ref.Order, nil
}

// leaseContext ends with a ticket. Its Err looks at the clock, so that a
// process that was paused does not have to wait for its timers.
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
	if err := c.Context.Err(); err != nil {
		return err
	}
	if c.ticket.isLost() {
		return context.Canceled
	}
	return nil
}
