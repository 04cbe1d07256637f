package queue_test

import (
	"context"
	"encoding/binary"
	"errors"
	stdsync "sync"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/internal/memstore"
	"github.com/micro/go-platform/sync/internal/queue"
)

// What fails on the way to a lock is told, leaves nothing behind, and heals.
func TestAcquireFails(t *testing.T) {
	for _, step := range []string{"Grant", "Enter"} {
		for name, hook := range map[string]func(context.Context, func() error) error{"broken": broken, "lost answer": lostAnswer} {
			t.Run(step+" "+name, func(t *testing.T) {
				server := memstore.NewServer()
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

// A request that was given up can still arrive, however often its entry was
// removed.
func TestLateEntryIsRemoved(t *testing.T) {
	t.Parallel()
	const ttl = 5 * time.Second
	server := memstore.NewServer()
	f := newFaulty(server)
	s := start(t, f)
	other := another(t, s, ttl) // the session stays
	var late func() error
	f.once("Enter", func(_ context.Context, do func() error) error { late = do; return errBroken })
	if err := lock(t, s, sync.LockTTL(ttl)).Acquire(); !errors.Is(err, sync.ErrUnavailable) {
		t.Fatalf("acquired: %v", err)
	}
	rpctest.Eventually(t, "four removals", func() bool { return f.called("Leave") >= 4 })
	if err := late(); err != nil {
		t.Fatal(err)
	}
	acquire(t, lock(t, start(t, server.Store())))
	if _, err := other.Token(); err != nil {
		t.Errorf("freed by the end of the lease: %v", err)
	}
}

// A session that may have an entry which nobody knows of gets no more locks, and
// ends when those it has are given back.
func TestDoubtfulSessionEnds(t *testing.T) {
	f := newFaulty(memstore.NewServer())
	s := start(t, f)
	other := another(t, s, time.Hour)
	for _, doubtful := range []error{errBroken, queue.ErrExists} {
		f.once("Enter", says(doubtful))
		l := lock(t, s, sync.LockTTL(time.Hour))
		if err := l.Acquire(); err != nil {
			acquire(t, l)
		}
		if err := l.Release(); err != nil {
			t.Error(err)
		}
	}
	if n := f.called("Grant"); n != 3 {
		t.Errorf("%d leases, want a new one after every doubt", n)
	}
	rpctest.Eventually(t, "one lease to be revoked", func() bool { return f.called("Revoke") == 1 })
	if err := other.Release(); err != nil {
		t.Error(err)
	}
	rpctest.Eventually(t, "two leases to be revoked", func() bool { return f.called("Revoke") == 2 })
}

// An entry of the lease that nobody here made is one that was given back, in a
// server that was restored from a backup.
func TestGhostIsRemoved(t *testing.T) {
	server := memstore.NewServer()
	f := newFaulty(server)
	restored := make(chan struct{})
	f.once("Watch", func(context.Context, func() error) error { <-restored; return nil })
	s := start(t, f)
	other := another(t, s, time.Hour)
	if _, err := server.Store().Enter(t.Context(), f.lease, queue.Key(sync.DefaultNamespace, "lock", "x"), "ghost", nil); err != nil {
		t.Fatal(err)
	}
	close(restored)
	acquire(t, lock(t, start(t, server.Store())))
	if _, err := other.Token(); err != nil {
		t.Errorf("lost with the ghost: %v", err)
	}
}

// Two would hold it until the server has answered.
func TestStopLosesBeforeItGivesBack(t *testing.T) {
	f := newFaulty(memstore.NewServer())
	s := start(t, f)
	l := lock(t, s)
	acquire(t, l)
	lost := l.Lost()
	f.on("Revoke", func(_ context.Context, do func() error) error {
		select {
		case <-lost:
		default:
			t.Error("given back before it was lost")
		}
		if _, err := l.Token(); !errors.Is(err, sync.ErrLost) {
			t.Errorf("token while it is given back: %v", err)
		}
		return do()
	})
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if f.called("Revoke") != 1 {
		t.Error("not given back")
	}
}

// What cannot be given back is a loss, which Stop tells and counts: those that
// wait for it wait for the end of the lease.
func TestStopTellsWhatItLost(t *testing.T) {
	for name, c := range map[string]struct {
		locks  int
		revoke func(context.Context, func() error) error
		want   string
	}{
		"nothing held":    {0, broken, ""},
		"one":             {1, broken, "sync: lost 1 release: what was held stays so until its lease ends, at the latest in 1m0s: memory: disk on fire"},
		"two":             {2, broken, "sync: lost 2 releases: what was held stays so until its lease ends, at the latest in 1m0s: memory: disk on fire"},
		"answer that was": {2, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFaulty(memstore.NewServer())
			s := start(t, f)
			l := lock(t, s, sync.LockTTL(time.Minute))
			acquire(t, l)
			if c.locks == 0 {
				if err := l.Release(); err != nil {
					t.Fatal(err)
				}
			}
			if c.locks > 1 {
				other, err := s.Lock("y", sync.LockTTL(time.Minute))
				if err != nil {
					t.Fatal(err)
				}
				acquire(t, other)
			}
			f.on("Revoke", c.revoke)
			err := s.Stop()
			if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, sync.ErrLost) || err.Error() != c.want) {
				t.Errorf("Stop: %v, want %q", err, c.want)
			}
			if err := s.Stop(); err != nil {
				t.Errorf("the second Stop: %v", err)
			}
		})
	}
}

// A loop that is stuck keeps nobody from knowing what time it is, and what it
// brings back late stays lost.
func TestLeaseDoesNotComeBack(t *testing.T) {
	t.Parallel()
	server := memstore.NewServer()
	f := newFaulty(server)
	s := start(t, f)
	const ttl = 4 * time.Second
	l := lock(t, s, sync.LockTTL(ttl))
	acquire(t, l)
	lost, ctx, acquired := l.Lost(), l.Context(), time.Now()
	answer, stuck := make(chan struct{}), make(chan struct{})
	f.on("Renew", func(_ context.Context, do func() error) error {
		if time.Since(acquired) < ttl/2 { // one that is late would extend it by much
			return errBroken
		}
		f.on("Renew", nil)
		err := do()
		close(stuck)
		<-answer
		return err
	})
	within(t, "a renewal", stuck)
	rpctest.Eventually(t, "the end of the lease", func() bool {
		if err := server.Store().Renew(t.Context(), f.lease); err != nil {
			t.Fatal(err) // there it goes on
		}
		_, err := l.Token()
		return errors.Is(err, sync.ErrLost)
	})
	if ctx.Err() == nil {
		t.Error("the context has not ended by the clock")
	}
	close(answer)
	within(t, "told of the loss", lost)
	if _, err := l.Token(); !errors.Is(err, sync.ErrLost) {
		t.Errorf("token of a lease that came back: %v", err)
	}
	if err := l.Release(); !errors.Is(err, sync.ErrLost) {
		t.Errorf("release of what was lost: %v", err)
	}
	rpctest.Eventually(t, "an empty queue", func() bool { return entries(t, server.Store()) == 0 })
}

func TestReleaseAtTheDeadline(t *testing.T) {
	f := newFaulty(memstore.NewServer())
	l := lock(t, start(t, f), sync.LockTTL(500*time.Millisecond))
	acquire(t, l)
	ctx, answer := l.Context(), make(chan struct{})
	defer close(answer)
	f.on("Renew", func(context.Context, func() error) error { <-answer; return errBroken })
	rpctest.Eventually(t, "the end of the lease", func() bool { return ctx.Err() != nil })
	if err := l.Release(); !errors.Is(err, sync.ErrLost) {
		t.Errorf("released what is over: %v", err)
	}
}

func TestIdleSessionEnds(t *testing.T) {
	t.Parallel()
	f := newFaulty(memstore.NewServer())
	l := lock(t, start(t, f), sync.LockTTL(time.Second))
	for n := 1; n < 3; n++ {
		acquire(t, l)
		if err := l.Release(); err != nil {
			t.Fatal(err)
		}
		rpctest.Eventually(t, "the end of an idle session", func() bool { return f.called("Revoke") == n })
	}
}

func TestHangingServerDoesNotOutlastLockWait(t *testing.T) {
	f := newFaulty(memstore.NewServer())
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
}

func TestStopEndsAcquire(t *testing.T) {
	f := newFaulty(memstore.NewServer())
	s := start(t, f)
	f.on("Grant", hanging)
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

// Who gives up waiting does not wait for the server, which hears of it later.
func TestGivingUpIsPrompt(t *testing.T) {
	server := memstore.NewServer()
	f := newFaulty(server)
	s, answer := start(t, f), make(chan struct{})
	held := lock(t, start(t, server.Store()))
	acquire(t, held)
	f.on("Leave", func(_ context.Context, do func() error) error { <-answer; return do() })
	for _, cause := range []error{nil, errBroken} {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, cause)
		if err := lock(t, s).Acquire(sync.WithContext(ctx)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("cause %v: %v", cause, err)
		}
		cancel()
	}
	close(answer) // Acquire has returned before
	rpctest.Eventually(t, "the holder to be alone", func() bool { return entries(t, server.Store()) == 1 })
}

func TestReleaseWhileItHangs(t *testing.T) {
	t.Parallel()
	f := newFaulty(memstore.NewServer())
	s := start(t, f)
	f.on("Leave", hanging)
	one, two := lock(t, s), another(t, s, time.Hour)
	acquire(t, one)
	if err := one.Release(); !errors.Is(err, sync.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("released: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := two.Release(sync.WithContext(ctx)); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sync.ErrUnavailable) {
		t.Errorf("released within a deadline: %v", err)
	}
	l, err := s.Leader("x")
	if err != nil {
		t.Fatal(err)
	}
	seat, err := l.Elect()
	if err != nil {
		t.Fatal(err)
	}
	if err := seat.Resign(); !errors.Is(err, sync.ErrUnavailable) {
		t.Errorf("resigned: %v", err)
	}
}

func TestReleaseWhileDown(t *testing.T) {
	t.Parallel()
	const ttl = 5 * time.Second
	server := memstore.NewServer()
	f := newFaulty(server)
	s := start(t, f)
	l, other := lock(t, s, sync.LockTTL(ttl)), another(t, s, ttl)
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
	if _, err := other.Token(); err != nil {
		t.Errorf("freed by the end of the lease, not in the background: %v", err)
	}
}

// A lease that ends takes what it holds, and a contender that waits on it
// begins again.
func TestLeaseEndsWhileWaiting(t *testing.T) {
	server := memstore.NewServer()
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
	f := newFaulty(memstore.NewServer())
	s := start(t, f)
	other := another(t, s, time.Hour)
	rpctest.Eventually(t, "the loop of the session", func() bool { return f.called("Watch") > 0 })
	f.once("Enter", says(queue.ErrGone))
	acquire(t, lock(t, s, sync.LockTTL(time.Hour)))
	if n := f.called("Grant"); n != 2 {
		t.Errorf("%d leases", n)
	}
	within(t, "what the old lease held is lost", other.Lost())
}

func TestOutages(t *testing.T) {
	const ttl = 3 * time.Second
	f := newFaulty(memstore.NewServer())
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

// Who asks before any timer has fired learns the reason, too.
func TestTheReasonIsThereAtOnce(t *testing.T) {
	f := newFaulty(memstore.NewServer())
	l := lock(t, start(t, f), sync.LockTTL(time.Second))
	acquire(t, l)
	f.on("Renew", hanging)
	ctx := l.Context()
	for end := time.Now().Add(patience); context.Cause(ctx) == nil; {
		if time.Now().After(end) {
			t.Fatal("never lost")
		}
	}
	if err := context.Cause(ctx); !errors.Is(err, sync.ErrLost) || ctx.Err() == nil {
		t.Errorf("ended by %v, %v", err, ctx.Err())
	}
}

// A store that keeps what was deleted gets slower with every name.
func TestNamesAreUsedAgain(t *testing.T) {
	f := newFaulty(memstore.NewServer())
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
	f := newFaulty(memstore.NewServer())
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
		s := start(t, wrongClock{memstore.NewServer().Store(), jump})
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
