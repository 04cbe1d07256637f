package queue

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/micro/go-platform/internal/backoff"
	locks "github.com/micro/go-platform/sync"
)

const minPeriod = 100 * time.Millisecond

// Every is sync.Sync's: whoever holds the lock of the duty runs it.
func (q *Queues) Every(ctx context.Context, id string, period time.Duration, f func(context.Context, uint64)) error {
	if err := locks.CheckId(id); err != nil {
		return err
	}
	if f == nil {
		return fmt.Errorf("sync: every %s: %w: nothing to run", id, locks.ErrInvalid)
	}
	if period < minPeriod {
		return fmt.Errorf("sync: every %s: %w: a period of %v is less than %v", id, locks.ErrInvalid, period, minPeriod)
	}
	if err := q.Use(ctx); err != nil {
		return err
	}
	d := &duty{queues: q, id: id, period: period, key: q.key("last", id), f: f}
	c := claim{queue: q.key("every", id), ttl: locks.DefaultLockTTL}
	var wait backoff.Backoff
	var failing trouble
	for {
		t, err := q.acquire(ctx, c)
		if err == nil {
			err = d.serve(ctx, t, &wait)
			q.abandon(t)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, locks.ErrStopped) || q.ctx.Err() != nil {
			return fmt.Errorf("sync: every %s: %w", id, locks.ErrStopped)
		}
		failing.tell(q.options.Logger, "sync: a duty does not run here", "id", id, "error", err)
		if err := wait.Wait(ctx); err != nil {
			return err
		}
	}
}

type duty struct {
	queues *Queues
	id     string
	period time.Duration
	key    string
	f      func(context.Context, uint64)
}

// serve runs the duty until it is lost or ctx ends. What keeps it from running
// is waited for longer each time.
func (d *duty) serve(ctx context.Context, t *ticket, wait *backoff.Backoff) error {
	life := newLeaseContext(ctx, t)
	defer life.cancel(nil)
	defer context.AfterFunc(t.ctx, func() { life.cancel(context.Cause(t.ctx)) })()
	last, err := d.queues.store.Load(life, d.key)
	if err != nil {
		return err
	}
	for pause := d.pause(last); ; {
		timer := time.NewTimer(pause)
		select {
		case <-life.Done():
			timer.Stop()
			return context.Cause(life)
		case <-timer.C:
		}
		began := time.Now()
		if err := d.queues.store.Save(life, d.key, binary.BigEndian.AppendUint64(nil, uint64(began.UnixNano())), t.session.lease, t.ref); err != nil {
			return err
		}
		wait.Reset()
		if token, err := t.check(); err == nil {
			// A run has no error to tell.
			_ = d.queues.options.Trace(life, "run "+d.id, func(ctx context.Context) error { d.f(ctx, token); return nil })
		}
		pause = max(0, d.period-time.Since(began))
	}
}

// pause is what is left of the period that began at last. A clock that is
// wrong by more than the period makes it the whole one at most.
func (d *duty) pause(last []byte) time.Duration {
	if len(last) != 8 {
		return 0
	}
	began := time.Unix(0, int64(binary.BigEndian.Uint64(last)))
	return min(max(0, d.period-time.Since(began)), d.period)
}
