package queue

import (
	"context"
	"fmt"
	"sync"
	"time"

	locks "github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/plugin"
)

// Lock is sync.Sync's.
func (q *Queues) Lock(id string, opts ...locks.LockOption) (locks.Lock, error) {
	o, err := plugin.NewLockOptions(id, opts...)
	if err != nil {
		return nil, err
	}
	c := claim{queue: q.key("lock", id), ttl: o.TTL, value: value{Shared: o.Shared}}
	if o.Slots > 1 {
		c.value.Slots = o.Slots
	}
	return &lock{queues: q, id: id, claim: c, wait: o.Wait, last: locks.ErrNotHeld}, nil
}

type lock struct {
	queues *Queues
	id     string
	claim  claim
	wait   time.Duration

	mu      sync.Mutex
	waiting bool
	ticket  *ticket
	last    error // why there is no ticket
}

func (l *lock) Id() string { return l.id }

func (l *lock) Acquire(opts ...locks.CallOption) error {
	ctx := plugin.NewCallOptions(opts...).Context
	if l.wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.wait)
		defer cancel()
	}
	if err := l.queues.Use(ctx); err != nil {
		return err
	}
	if !l.begin() {
		return fmt.Errorf("sync: lock %s: %w", l.id, locks.ErrHeld)
	}
	var t *ticket
	err := l.queues.options.Trace(ctx, "acquire "+l.id, func(ctx context.Context) (err error) {
		t, err = l.queues.acquire(ctx, l.claim)
		return err
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting, l.ticket = false, t
	if err != nil {
		l.last = locks.ErrNotHeld
		return fmt.Errorf("sync: lock %s: %w", l.id, err)
	}
	return nil
}

// begin reports whether the lock may be waited for: a lock that was lost may.
func (l *lock) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting || l.ticket != nil && !l.ticket.isLost() {
		return false
	}
	l.waiting = true
	return true
}

func (l *lock) Release(opts ...locks.CallOption) error {
	l.mu.Lock()
	t := l.ticket
	l.ticket, l.last = nil, locks.ErrNotHeld
	l.mu.Unlock()
	if t == nil {
		return fmt.Errorf("sync: lock %s: %w", l.id, locks.ErrNotHeld)
	}
	ctx := plugin.NewCallOptions(opts...).Context
	if err := l.queues.giveBack(ctx, "release "+l.id, t); err != nil {
		return fmt.Errorf("sync: release %s: %w", l.id, err)
	}
	return nil
}

func (l *lock) Token() (uint64, error) {
	token, err := uint64(0), locks.ErrNotHeld
	if t := l.held(); t != nil {
		token, err = t.check()
	}
	if err != nil {
		return 0, fmt.Errorf("sync: lock %s: %w", l.id, err)
	}
	return token, nil
}

func (l *lock) Lost() <-chan struct{} {
	if t := l.held(); t != nil {
		return t.lost
	}
	return nil
}

func (l *lock) Context() context.Context {
	if t := l.held(); t != nil {
		return t.ctx
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(fmt.Errorf("sync: lock %s: %w", l.id, locks.ErrNotHeld))
	return ctx
}

func (l *lock) held() *ticket {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ticket
}
