package queue

import (
	"context"
	"fmt"
	"sync"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/backoff"
	locks "github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/plugin"
)

// Leader is sync.Sync's.
func (q *Queues) Leader(id string, opts ...locks.LeaderOption) (locks.Leader, error) {
	opts = append([]locks.LeaderOption{locks.LeaderNode(q.node)}, opts...)
	o, err := plugin.NewLeaderOptions(id, opts...)
	if err != nil {
		return nil, err
	}
	c := claim{queue: q.key("leader", id), ttl: o.TTL, value: value{Node: o.Node}}
	return &leader{queues: q, id: id, claim: c}, nil
}

type leader struct {
	queues *Queues
	id     string
	claim  claim

	mu      sync.Mutex
	waiting bool
	seat    *elected
}

func (l *leader) Id() string { return l.id }

func (l *leader) Leader(opts ...locks.CallOption) (*registry.Node, error) {
	ctx := plugin.NewCallOptions(opts...).Context
	if err := l.queues.Use(ctx); err != nil {
		return nil, err
	}
	state, err := l.queues.list(ctx, l.claim.queue)
	if err != nil {
		return nil, fmt.Errorf("sync: leader %s: %w", l.id, err)
	}
	if node := first(state); node != nil {
		return node, nil
	}
	return nil, fmt.Errorf("sync: leader %s: %w", l.id, locks.ErrNotFound)
}

// list tells a server that cannot be reached from a caller that gave up.
func (q *Queues) list(ctx context.Context, key string) (Queue, error) {
	state, err := q.read(ctx, key)
	switch {
	case err == nil:
		return state, nil
	case q.ctx.Err() != nil:
		return Queue{}, locks.ErrStopped
	case ctx.Err() != nil:
		return Queue{}, ctx.Err()
	}
	return Queue{}, q.unavailable(err)
}

func first(q Queue) *registry.Node {
	if len(q.Entries) == 0 {
		return nil
	}
	if node := parse(q.Entries[0]).Node; node != nil {
		return node
	}
	return &registry.Node{}
}

func (l *leader) Elect(opts ...locks.CallOption) (locks.Elected, error) {
	ctx := plugin.NewCallOptions(opts...).Context
	if err := l.queues.Use(ctx); err != nil {
		return nil, err
	}
	if !l.begin() {
		return nil, fmt.Errorf("sync: elect %s: %w", l.id, locks.ErrHeld)
	}
	var t *ticket
	err := l.queues.options.Trace(ctx, "elect "+l.id, func(ctx context.Context) (err error) {
		t, err = l.queues.acquire(ctx, l.claim)
		return err
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = false
	if err != nil {
		return nil, fmt.Errorf("sync: elect %s: %w", l.id, err)
	}
	seat := &elected{id: l.id, queues: l.queues, ticket: t, values: context.WithoutCancel(ctx), revoked: make(chan struct{})}
	context.AfterFunc(t.ctx, func() { close(seat.revoked) })
	l.seat = seat
	return l.seat, nil
}

func (l *leader) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting || l.seat != nil && l.seat.Context().Err() == nil {
		return false
	}
	l.waiting = true
	return true
}

func (l *leader) Status() (locks.LeaderStatus, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.waiting:
		return locks.CandidateStatus, nil
	case l.seat != nil && l.seat.Context().Err() == nil:
		return locks.ElectedStatus, nil
	}
	return locks.FollowerStatus, nil
}

func (l *leader) Observe(opts ...locks.CallOption) (<-chan *registry.Node, error) {
	ctx := plugin.NewCallOptions(opts...).Context
	if err := l.queues.Use(ctx); err != nil {
		return nil, err
	}
	out := make(chan *registry.Node, 1)
	err := l.queues.run(func(life context.Context) {
		defer close(out)
		life, cancel := context.WithCancel(life)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		l.observe(life, out)
	})
	if err != nil {
		return nil, fmt.Errorf("sync: observe %s: %w", l.id, err)
	}
	return out, nil
}

func (l *leader) observe(ctx context.Context, out chan *registry.Node) {
	var wait backoff.Backoff
	var last Entry // the holder's
	known := false
	for ctx.Err() == nil {
		state, err := l.queues.read(ctx, l.claim.queue)
		if err == nil {
			wait.Reset()
			var holder Entry
			if len(state.Entries) > 0 {
				holder = state.Entries[0]
			}
			if !known || holder.Name != last.Name || holder.Order != last.Order {
				newest(out, first(state))
			}
			known, last = true, holder
			err = l.queues.store.Wait(ctx, Ref{Queue: l.claim.queue}, state)
		}
		if err == nil {
			continue
		}
		l.queues.unreadable(ctx, err)
		if wait.Wait(ctx) != nil {
			return
		}
	}
}

// newest replaces what nobody has read yet. There is one sender.
func newest(out chan *registry.Node, n *registry.Node) {
	select {
	case <-out:
	default:
	}
	out <- n
}

type elected struct {
	id      string
	queues  *Queues
	ticket  *ticket
	values  context.Context // of Elect
	revoked chan struct{}

	mu       sync.Mutex
	resigned bool
}

func (e *elected) Revoked() (chan struct{}, error) { return e.revoked, nil }
func (e *elected) Context() context.Context        { return e.ticket.ctx }

func (e *elected) Token() (uint64, error) {
	e.mu.Lock()
	resigned := e.resigned
	e.mu.Unlock()
	token, err := uint64(0), locks.ErrNotHeld
	if !resigned {
		token, err = e.ticket.check()
	}
	if err != nil {
		return 0, fmt.Errorf("sync: leader %s: %w", e.id, err)
	}
	return token, nil
}

func (e *elected) Resign() error {
	e.mu.Lock()
	again := e.resigned
	e.resigned = true
	e.mu.Unlock()
	if again {
		return fmt.Errorf("sync: resign %s: %w", e.id, locks.ErrNotHeld)
	}
	if err := e.queues.giveBack(e.values, "resign "+e.id, e.ticket); err != nil {
		return fmt.Errorf("sync: resign %s: %w", e.id, err)
	}
	return nil
}
