package synctest

import (
	"context"
	stdsync "sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/go-platform/sync"
)

// queued starts an Acquire and returns when it waits in the queue behind those
// before it.
func (s Server) queued(t *testing.T, l sync.Lock) chan error {
	t.Helper()
	done, before := make(chan error, 1), s.Contenders(t, l.Id())
	go func() { done <- l.Acquire() }()
	eventually(t, patience, "a contender", func() bool { return len(done) > 0 || s.Contenders(t, l.Id()) > before })
	select {
	case err := <-done:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(20 * time.Millisecond): // time to be wrong
	}
	return done
}

func testOrder(t *testing.T, s Server) {
	a, b := s.New.Start(t), s.New.Start(t)
	id := fresh()
	held := newLock(t, a, id)
	last := acquire(t, held)
	const n = 4
	waiting := make([]sync.Lock, n)
	done := make([]chan error, n)
	for i := range n {
		waiting[i] = newLock(t, []sync.Sync{a, b}[i%2], id)
		done[i] = s.queued(t, waiting[i])
	}
	release(t, held)
	for i := range n {
		if err := <-done[i]; err != nil {
			t.Fatal(err)
		}
		token, err := waiting[i].Token()
		if err != nil || token <= last {
			t.Errorf("number %d has token %d after %d, %v", i, token, last, err)
		}
		last = token
		for j := i + 1; j < n; j++ {
			if len(done[j]) > 0 {
				t.Errorf("number %d came before %d", j, i)
			}
		}
		release(t, waiting[i])
	}
}

func testContention(t *testing.T, n New) {
	const contenders, rounds = 50, 2
	clients := []sync.Sync{n.Start(t), n.Start(t), n.Start(t)}
	id := fresh()
	var inside, most, runs atomic.Int32
	var last atomic.Uint64
	var wg stdsync.WaitGroup
	for i := range contenders {
		l := newLock(t, clients[i%len(clients)], id)
		wg.Go(func() {
			for range rounds {
				if err := l.Acquire(); err != nil {
					t.Error(err)
					return
				}
				most.Store(max(most.Load(), inside.Add(1)))
				token, err := l.Token()
				if before := last.Swap(token); err != nil || before >= token {
					t.Errorf("token %d after %d, %v", token, before, err)
				}
				runs.Add(1)
				inside.Add(-1)
				if err := l.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if most.Load() != 1 || runs.Load() != contenders*rounds {
		t.Errorf("%d at a time, %d runs of %d", most.Load(), runs.Load(), contenders*rounds)
	}
}

func testReadWrite(t *testing.T, s Server) {
	a, b := s.New.Start(t), s.New.Start(t)
	id := fresh()
	reader1, reader2 := newLock(t, a, id, sync.Shared()), newLock(t, b, id, sync.Shared())
	acquire(t, reader1)
	acquire(t, reader2)
	writer := newLock(t, a, id)
	written := s.queued(t, writer)
	late := newLock(t, b, id, sync.Shared())
	lateRead := s.queued(t, late) // or writers would starve
	release(t, reader1)
	select {
	case err := <-written:
		t.Fatalf("wrote while another reads: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	release(t, reader2)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if len(lateRead) > 0 {
		t.Error("read while another writes")
	}
	release(t, writer)
	if err := <-lateRead; err != nil {
		t.Fatal(err)
	}
	release(t, late)
}

func testSemaphore(t *testing.T, s Server) {
	a, b := s.New.Start(t), s.New.Start(t)
	id := fresh()
	const n = 3
	var held []sync.Lock
	for i := range n {
		l := newLock(t, []sync.Sync{a, b}[i%2], id, sync.Slots(n))
		acquire(t, l)
		held = append(held, l)
	}
	one, two := newLock(t, a, id, sync.Slots(n)), newLock(t, b, id, sync.Slots(n))
	first := s.queued(t, one)
	second := s.queued(t, two)
	want(t, "other Slots", newLock(t, b, id, sync.Slots(n+1), sync.LockWait(patience)).Acquire(), sync.ErrConflict)
	want(t, "no Slots", newLock(t, b, id, sync.LockWait(patience)).Acquire(), sync.ErrConflict)
	release(t, held[1])
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if len(second) > 0 {
		t.Errorf("%d at a time", n+1)
	}
	release(t, held[0])
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	for _, l := range []sync.Lock{held[2], one, two} {
		release(t, l)
	}
}

func testEvery(t *testing.T, n New) {
	const period = 300 * time.Millisecond
	id := fresh()
	var runs, overlap atomic.Int32
	var last atomic.Uint64
	var latest atomic.Int64 // beginning of a run
	began := time.Now()
	duty := func(ctx context.Context, token uint64) {
		if overlap.Add(1) > 1 {
			t.Error("two at once")
		}
		if before := last.Swap(token); before > token {
			t.Errorf("token %d after %d", token, before)
		}
		latest.Store(int64(time.Since(began)))
		runs.Add(1)
		overlap.Add(-1)
	}
	a, b := n(t), n.Start(t)
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- a.Every(ctx, id, period, duty) }()
	eventually(t, patience, "a first run", func() bool { return runs.Load() > 0 })
	go func() { second <- b.Every(ctx, id, period, duty) }()
	eventually(t, patience, "a third run", func() bool { return runs.Load() >= 3 })
	if err := a.Stop(); err != nil {
		t.Error(err)
	}
	want(t, "Every after Stop", <-first, sync.ErrStopped)
	eventually(t, patience, "a run of the other", func() bool { return runs.Load() >= 5 })
	cancel()
	want(t, "Every after its context", <-second, context.Canceled)
	if most := int32(time.Duration(latest.Load())/period) + 1; runs.Load() > most {
		t.Errorf("%d runs, at most %d periods have begun", runs.Load(), most)
	}
}
