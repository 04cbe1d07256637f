package queue_test

import (
	"context"
	"encoding/binary"
	"errors"
	stdsync "sync"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/queue"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/memory"
)

// What fails on the way to a lock is told, leaves nothing behind, and heals.
func TestAcquireFails(t *testing.T) {
	for _, step := range []string{"Grant", "Enter"} {
		for name, hook := range map[string]func(context.Context, func() error) error{"broken": broken, "lost answer": lostAnswer} {
			t.Run(step+" "+name, func(t *testing.T) {
				server := memory.NewServer()
				f := newFaulty(server)
				l := lock(t, start(t, f), sync.LockTTL(time.Hour))
				f.on(step, hook)
				if err := l.Acquire(); !errors.Is(err, sync.ErrUnavailable) {
					t.Fatalf("acquired: %v", err)
				}
				if _, err := l.Token(); !errors.Is(err, sync.ErrNotHeld) {
					t.Errorf("token: %v", err)
				}
				// Nobody has to wait for a renewal, which comes after 20 minutes.
				rpctest.Eventually(t, "an empty queue", func() bool { return entries(t, server.Store()) == 0 })
				f.on(step, nil)
				acquire(t, l)
				if err := l.Release(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A request that was given up can still arrive, after its entry was removed.
func TestLateEntryIsRemoved(t *testing.T) {
	server := memory.NewServer()
	f := newFaulty(server)
	s := start(t, f)
	other, err := s.Lock("y", sync.LockTTL(3*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	acquire(t, other) // the session stays
	var late func() error
	f.on("Enter", func(_ context.Context, do func() error) error { late = do; return errBroken })
	f.on("Leave", func(_ context.Context, do func() error) error {
		err := do()
		f.on("Leave", nil)
		return errors.Join(err, late())
	})
	if err := lock(t, s, sync.LockTTL(3*time.Second)).Acquire(); !errors.Is(err, sync.ErrUnavailable) {
		t.Fatalf("acquired: %v", err)
	}
	acquire(t, lock(t, start(t, server.Store())))
}

func TestHangingServerDoesNotOutlastLockWait(t *testing.T) {
	f := newFaulty(memory.NewServer())
	s := start(t, f)
	f.on("Grant", hanging)
	var wg stdsync.WaitGroup
	began := time.Now()
	for range 10 {
		wg.Go(func() {
			if err := lock(t, s, sync.LockWait(50*time.Millisecond)).Acquire(); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sync.ErrUnavailable) {
				t.Errorf("acquired: %v", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("LockWait of 50 ms took %v", took)
	}
	if n := f.called("Grant"); n != 1 {
		t.Errorf("%d leases asked for, want one for all", n)
	}
	ended := make(chan error, 1)
	go func() { ended <- lock(t, s).Acquire() }()
	rpctest.Eventually(t, "a wait", func() bool { return f.called("Grant") > 0 })
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, sync.ErrStopped) {
		t.Errorf("acquire during Stop: %v", err)
	}
}

func TestReleaseWhileDown(t *testing.T) {
	server := memory.NewServer()
	f := newFaulty(server)
	l := lock(t, start(t, f), sync.LockTTL(3*time.Second))
	acquire(t, l)
	ctx := l.Context()
	f.on("Leave", broken)
	f.on("Renew", broken)
	if err := l.Release(); !errors.Is(err, sync.ErrUnavailable) {
		t.Errorf("released: %v", err)
	}
	if _, err := l.Token(); !errors.Is(err, sync.ErrNotHeld) || !errors.Is(context.Cause(ctx), sync.ErrNotHeld) {
		t.Errorf("not given up here: %v, %v", err, context.Cause(ctx))
	}
	if n := entries(t, server.Store()); n != 1 {
		t.Errorf("%d entries while the server is down", n)
	}
	f.on("Leave", nil)
	f.on("Renew", nil)
	acquire(t, lock(t, start(t, server.Store())))
	if n := f.called("Grant"); n != 1 {
		t.Errorf("freed by the end of the lease, not in the background: %d leases", n)
	}
}

// A lease that ends takes what it holds, and a contender that waits on it
// begins again.
func TestLeaseEndsWhileWaiting(t *testing.T) {
	server := memory.NewServer()
	f := newFaulty(server)
	s := start(t, f)
	held, waiting := lock(t, start(t, server.Store())), lock(t, s, sync.LockTTL(3*time.Second))
	acquire(t, held)
	other, err := s.Lock("y", sync.LockTTL(3*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	acquire(t, other)
	done := make(chan error, 1)
	go func() { done <- waiting.Acquire() }()
	rpctest.Eventually(t, "a contender", func() bool { return entries(t, server.Store()) == 2 })
	f.on("Renew", func(context.Context, func() error) error {
		f.on("Renew", nil)
		return queue.ErrGone
	})
	<-other.Lost()
	rpctest.Eventually(t, "a second lease", func() bool { return f.called("Grant") >= 2 })
	if err := held.Release(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// The holder of a lease that the server ended learns it by the next Enter too.
func TestEnterFindsThatTheLeaseIsGone(t *testing.T) {
	f := newFaulty(memory.NewServer())
	s := start(t, f)
	f.on("Enter", func(context.Context, func() error) error {
		f.on("Enter", nil)
		return queue.ErrGone
	})
	acquire(t, lock(t, s))
	if n := f.called("Grant"); n != 2 {
		t.Errorf("%d leases", n)
	}
}

func TestOutages(t *testing.T) {
	const ttl = 3 * time.Second
	f := newFaulty(memory.NewServer())
	l := lock(t, start(t, f), sync.LockTTL(ttl))
	acquire(t, l)
	f.on("Missing", broken)
	f.on("Renew", broken)
	rpctest.Eventually(t, "a renewal that failed", func() bool { return f.called("Renew") > 0 })
	f.on("Renew", nil)
	before := f.called("Renew")
	rpctest.Eventually(t, "three renewals", func() bool { return f.called("Renew") > before+2 })
	if _, err := l.Token(); err != nil {
		t.Errorf("lost by an outage shorter than the TTL: %v", err)
	}
	f.on("Renew", hanging)
	began := time.Now()
	select {
	case <-l.Lost():
		if took := time.Since(began); took > ttl+10*time.Second {
			t.Errorf("told after %v, TTL %v", took, ttl)
		}
	case <-time.After(patience):
		t.Fatal("never lost")
	}
	if !errors.Is(context.Cause(l.Context()), sync.ErrLost) {
		t.Errorf("context: %v", context.Cause(l.Context()))
	}
}

// A store that keeps what was deleted gets slower with every name.
func TestNamesAreUsedAgain(t *testing.T) {
	f := newFaulty(memory.NewServer())
	l := lock(t, start(t, f))
	for range 100 {
		acquire(t, l)
		if err := l.Release(); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.names) != 1 {
		t.Errorf("%d names for one contender", len(f.names))
	}
	acquire(t, l)
	f.on("Leave", lostAnswer)
	_ = l.Release() // it may have been done
	f.on("Leave", nil)
	acquire(t, l)
	if len(f.names) != 2 {
		t.Error("a name was used again that a late request could remove")
	}
}

func TestEveryOutlivesFailures(t *testing.T) {
	f := newFaulty(memory.NewServer())
	s := start(t, f)
	for _, step := range []string{"Load", "Save"} {
		fails := 0
		f.on(step, func(_ context.Context, do func() error) error {
			if fails++; fails < 3 {
				return errBroken
			}
			return do()
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	runs := 0
	err := s.Every(ctx, "x", time.Hour, func(context.Context, uint64) { runs++; cancel() })
	if !errors.Is(err, context.Canceled) || runs != 1 {
		t.Errorf("%d runs, %v", runs, err)
	}
}

// The wall clock of the process before may have been an hour wrong, or this
// one's: a period is waited at most, and none where one has passed.
func TestEveryAfterAClockJump(t *testing.T) {
	const period = 200 * time.Millisecond
	for jump, early := range map[time.Duration]time.Duration{time.Hour: period, -time.Hour: 0} {
		s := start(t, wrongClock{memory.NewServer().Store(), jump})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		began, first := time.Now(), time.Duration(0)
		_ = s.Every(ctx, "x", period, func(context.Context, uint64) { first = time.Since(began); cancel() }) // it ends with ctx
		cancel()
		if first < early || first > early+5*time.Second || first == 0 {
			t.Errorf("clock wrong by %v: first run after %v", jump, first)
		}
	}
}

// wrongClock says that the last run was by a process whose clock was wrong.
type wrongClock struct {
	queue.Store
	jump time.Duration
}

func (w wrongClock) Load(context.Context, string) ([]byte, error) {
	return binary.BigEndian.AppendUint64(nil, uint64(time.Now().Add(w.jump).UnixNano())), nil
}
