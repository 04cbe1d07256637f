package queue_test

import (
	"context"
	"errors"
	stdsync "sync"
	"testing"
	"time"

	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/internal/memstore"
	"github.com/micro/go-platform/sync/internal/queue"
)

var errBroken = errors.New("disk on fire")

// faulty is a store whose steps fail as a test likes.
type faulty struct {
	queue.Store
	mu    stdsync.Mutex
	hooks map[string]func(ctx context.Context, do func() error) error
	calls map[string]int
	names map[string]bool // of entries
	lease string          // the last
}

func newFaulty(server *memstore.Server) *faulty {
	return &faulty{
		Store: server.Store(), calls: map[string]int{}, names: map[string]bool{},
		hooks: map[string]func(context.Context, func() error) error{},
	}
}

// on puts a hook in the place of a step, nil takes it away.
func (f *faulty) on(step string, hook func(ctx context.Context, do func() error) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hooks[step] = hook
}

func (f *faulty) called(step string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[step]
}

func (f *faulty) step(ctx context.Context, step string, do func() error) error {
	f.mu.Lock()
	f.calls[step]++
	hook := f.hooks[step]
	f.mu.Unlock()
	if hook == nil {
		return do()
	}
	return hook(ctx, do)
}

func (f *faulty) Grant(ctx context.Context, ttl time.Duration) (lease string, granted time.Duration, err error) {
	err = f.step(ctx, "Grant", func() (err error) { lease, granted, err = f.Store.Grant(ctx, ttl); return err })
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lease = lease
	return lease, granted, err
}

func (f *faulty) Renew(ctx context.Context, lease string) error {
	return f.step(ctx, "Renew", func() error { return f.Store.Renew(ctx, lease) })
}

func (f *faulty) Revoke(ctx context.Context, lease string) error {
	return f.step(ctx, "Revoke", func() error { return f.Store.Revoke(ctx, lease) })
}

func (f *faulty) Watch(ctx context.Context, lease string) error {
	return f.step(ctx, "Watch", func() error { return f.Store.Watch(ctx, lease) })
}

func (f *faulty) Enter(ctx context.Context, lease, key, name string, value []byte) (q queue.Queue, err error) {
	f.mu.Lock()
	f.names[name] = true
	f.mu.Unlock()
	err = f.step(ctx, "Enter", func() (err error) { q, err = f.Store.Enter(ctx, lease, key, name, value); return err })
	return q, err
}

func (f *faulty) Leave(ctx context.Context, ref queue.Ref) error {
	return f.step(ctx, "Leave", func() error { return f.Store.Leave(ctx, ref) })
}

func (f *faulty) List(ctx context.Context, key string) (q queue.Queue, err error) {
	err = f.step(ctx, "List", func() (err error) { q, err = f.Store.List(ctx, key); return err })
	return q, err
}

func (f *faulty) Wait(ctx context.Context, ref queue.Ref, from queue.Queue) error {
	return f.step(ctx, "Wait", func() error { return f.Store.Wait(ctx, ref, from) })
}

func (f *faulty) Missing(ctx context.Context, lease string, refs []queue.Ref) (missing []queue.Ref, err error) {
	err = f.step(ctx, "Missing", func() (err error) { missing, err = f.Store.Missing(ctx, lease, refs); return err })
	return missing, err
}

func (f *faulty) Load(ctx context.Context, key string) (value []byte, err error) {
	err = f.step(ctx, "Load", func() (err error) { value, err = f.Store.Load(ctx, key); return err })
	return value, err
}

func (f *faulty) Save(ctx context.Context, key string, value []byte, lease string, holder queue.Ref) error {
	return f.step(ctx, "Save", func() error { return f.Store.Save(ctx, key, value, lease, holder) })
}

func broken(context.Context, func() error) error { return errBroken }

// lostAnswer does what was asked and does not tell.
func lostAnswer(_ context.Context, do func() error) error { return errors.Join(do(), errBroken) }

// once is a hook that is there for one call.
func (f *faulty) once(step string, hook func(ctx context.Context, do func() error) error) {
	f.on(step, func(ctx context.Context, do func() error) error {
		f.on(step, nil)
		return hook(ctx, do)
	})
}

func says(err error) func(context.Context, func() error) error {
	return func(context.Context, func() error) error { return err }
}

func hanging(ctx context.Context, _ func() error) error {
	<-ctx.Done()
	return ctx.Err()
}

const patience = time.Minute

func lock(t *testing.T, s sync.Sync, opts ...sync.LockOption) sync.Lock {
	t.Helper()
	l, err := s.Lock("x", opts...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// another is a lock of the same session that is held.
func another(t *testing.T, s sync.Sync, ttl time.Duration) sync.Lock {
	t.Helper()
	l, err := s.Lock("y", sync.LockTTL(ttl))
	if err != nil {
		t.Fatal(err)
	}
	acquire(t, l)
	return l
}

// within fails when the channel is not closed in time.
func within(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("never: %s", what)
	}
}

func acquire(t *testing.T, l sync.Lock) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := l.Acquire(sync.WithContext(ctx)); err != nil {
		t.Fatal(err)
	}
}

func entries(t *testing.T, s queue.Store) int {
	t.Helper()
	q, err := s.List(t.Context(), queue.Key(sync.DefaultNamespace, "lock", "x"))
	if err != nil {
		t.Fatal(err)
	}
	return len(q.Entries)
}
