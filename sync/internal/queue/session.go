package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micro/go-platform/internal/backoff"
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

	// deadline is when the server may end the lease, in time since base, and 0
	// from when it did: a lease does not come back.
	base     time.Time
	deadline atomic.Int64

	ctx     context.Context // ends with the lease
	cancel  context.CancelFunc
	wake    chan struct{} // something does not wait for the next renewal
	suspect atomic.Bool   // the lease may have ended, or have entries that nobody made

	mu      sync.Mutex
	over    bool
	retired bool  // ends when its last ticket leaves
	failed  error // of the last renewal
	tickets map[string]*ticket
	litter  map[Ref]litter // entries that may be there and should not
	names   []string       // to be used again
	idle    int            // renewals in a row without a ticket
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
		wake: make(chan struct{}, 1), tickets: map[string]*ticket{}, litter: map[Ref]litter{},
	}
	s.ctx, s.cancel = context.WithCancel(q.ctx)
	s.deadline.Store(int64(granted))
	return s, nil
}

// alive compares monotonic clocks: it is right even if nothing in the
// background has run since the process was paused.
func (s *session) alive() bool { return s.left() > 0 }

// left settles that a lease whose time is over stays so: somebody was told, and
// a renewal that is on its way must not bring it back.
func (s *session) left() time.Duration {
	for {
		deadline := s.deadline.Load()
		left := time.Duration(deadline) - time.Since(s.base)
		if left > 0 {
			return left
		}
		if s.deadline.CompareAndSwap(deadline, 0) {
			return 0
		}
	}
}

// expire tells that the server ended the lease.
func (s *session) expire() {
	s.deadline.Store(0)
	s.hurry()
}

// hurry has the loop look at once.
func (s *session) hurry() {
	select {
	case s.wake <- struct{}{}:
	default: // it will
	}
}

// run keeps the session until its Sync stops, the lease ends, or nobody uses
// it. What is held is lost here before it is given back there: else two would
// hold it until the server has answered.
func (s *session) run(context.Context) {
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(s.watch)
	gone := s.renew()
	stopped := s.queue.ctx.Err() != nil && s.alive()
	n := s.end()
	if gone {
		return
	}
	if stopped {
		s.queue.owe(s, n)
	}
	err := s.revoke()
	switch {
	case stopped:
		s.queue.paid(n, err)
	case err != nil:
		s.queue.options.Logger.Warn("sync: what is held stays so until its lease ends",
			"store", s.store.String(), "ttl", s.ttl, "error", err)
	}
}

// renew is the loop of the session. It reports whether the server ended the lease.
func (s *session) renew() (gone bool) {
	for wait := s.ttl / 3; s.pause(wait) && !s.unused(); {
		switch err := s.extend(); {
		case errors.Is(err, ErrGone):
			return true
		case err != nil:
			wait = min(s.ttl/10, s.left())
		default:
			wait = s.ttl / 3
		}
	}
	return false
}

// extend renews the lease, unless it is over by the clock before the answer is
// there.
func (s *session) extend() error {
	began, old := time.Now(), s.deadline.Load()
	ctx, cancel := lifecycle.Bound(s.ctx, min(s.left(), max(s.ttl/3, time.Second)))
	defer cancel()
	err := s.store.Renew(ctx, s.lease)
	if s.fail(err); err != nil {
		return err
	}
	s.deadline.CompareAndSwap(old, int64(began.Sub(s.base)+s.ttl)) // else the loop finds that it is over
	s.tidy(ctx)
	return nil
}

// fail remembers why the lease could not be renewed. Nobody else would tell.
func (s *session) fail(err error) {
	s.mu.Lock()
	s.failed = err
	s.mu.Unlock()
	if err != nil && !errors.Is(err, ErrGone) && s.ctx.Err() == nil {
		s.queue.leases.tell(s.queue.options.Logger, "sync: a lease cannot be renewed", "store", s.store.String(), "ttl", s.ttl, "error", err)
	}
}

// loss is ErrLost with what is known of the reason.
func (s *session) loss() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		return locks.ErrLost
	}
	return fmt.Errorf("%w: the lease could not be renewed: %s", locks.ErrLost, s.failed.Error())
}

// enter makes the entry of a ticket.
func (s *session) enter(ctx context.Context, t *ticket, data []byte) (Queue, error) {
	ctx, cancel := lifecycle.Bound(ctx, s.left())
	defer cancel()
	state, err := s.store.Enter(ctx, s.lease, t.ref.Queue, t.ref.Name, data)
	if err != nil {
		return Queue{}, err
	}
	_, me, ok := state.split(t.ref.Name)
	if !ok {
		return Queue{}, fmt.Errorf("%s: an entry that was made is not in its queue", s.store.String())
	}
	s.entered(t, me.Order)
	return state, nil
}

// pause waits for d, or until something does not wait for the next renewal, and
// reports whether to renew.
func (s *session) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for s.alive() {
		select {
		case <-s.ctx.Done():
			return false
		case <-timer.C:
			return s.alive()
		case <-s.wake:
			if s.suspect.Load() || s.finished() {
				return s.alive()
			}
			ctx, cancel := lifecycle.Bound(s.ctx, min(s.ttl/10, lifecycle.FlushTimeout, s.left()))
			s.sweep(ctx)
			cancel()
		}
	}
	return false
}

// watch hears of what happens to the lease and its entries otherwise than by
// time. That the server cannot be asked, the renewals notice.
func (s *session) watch() {
	var wait backoff.Backoff
	for {
		if s.store.Watch(s.ctx, s.lease) == nil {
			wait.Reset()
			s.suspect.Store(true)
			s.hurry()
		}
		if wait.Wait(s.ctx) != nil {
			return
		}
	}
}

// unused tells that the session had no ticket for a TTL, and takes it out of use
// then.
func (s *session) unused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.tickets) > 0:
		s.idle = 0
		return false
	case s.retired: // what may still be made fails with the lease
	case len(s.litter) > 0 || s.idle < 2:
		s.idle++
		return false
	}
	s.over = true
	return true
}

func (s *session) finished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retired && len(s.tickets) == 0
}

// retire gives the session no more tickets: it may have an entry that nobody
// knows of, which ends with it.
func (s *session) retire() {
	s.mu.Lock()
	s.retired = true
	s.mu.Unlock()
	s.queue.forget(s)
	s.hurry()
}

// end loses everything that is still held. It returns how many entries the lease
// may still have at the server.
func (s *session) end() (entries int) {
	why := s.loss()
	s.mu.Lock()
	s.over = true
	entries = len(s.tickets) + len(s.litter)
	for name, t := range s.tickets {
		delete(s.tickets, name)
		t.lose(why)
	}
	s.mu.Unlock()
	s.deadline.Store(0)
	s.cancel()
	s.queue.forget(s)
	return entries
}

// revoke is the last thing a session does: nobody has to wait for the TTL.
func (s *session) revoke() error {
	ctx, cancel := lifecycle.Bound(context.Background(), lifecycle.FlushTimeout/2)
	defer cancel()
	if err := s.store.Revoke(ctx, s.lease); err != nil && !errors.Is(err, ErrGone) {
		return err
	}
	return nil
}
