package batch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micro/go-platform/internal/batch"
	"github.com/micro/go-platform/internal/leak"
	"github.com/micro/go-platform/internal/lifecycle"
)

func TestMain(m *testing.M) { leak.Main(m) }

// sink is a server that can be down or hang.
type sink struct {
	mu    sync.Mutex
	got   []int
	sizes []int
	down  bool
	hang  bool
}

func (s *sink) send(ctx context.Context, items []int) error {
	s.mu.Lock()
	hang := s.hang
	s.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return errors.New("down")
	}
	s.got = append(s.got, items...)
	s.sizes = append(s.sizes, len(items))
	return nil
}

func (s *sink) set(f func(*sink)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.got)
}

func newQueue(t *testing.T, s *sink, change func(*batch.Config[int])) *batch.Queue[int] {
	t.Helper()
	conf := batch.Config[int]{
		Name: "items", Size: 10, Capacity: 100, Interval: 20 * time.Millisecond,
		Timeout: time.Second, Send: s.send, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if change != nil {
		change(&conf)
	}
	return batch.New(conf)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("never: " + what)
}

func TestItemsArriveInOrderAndInBatches(t *testing.T) {
	var s sink
	q := newQueue(t, &s, nil)
	for i := range 95 {
		if err := q.Add(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "95 items arrive", func() bool { return s.count() == 95 })
	if err := q.Stop(); err != nil {
		t.Fatal(err)
	}
	if !slices.IsSorted(s.got) || slices.Max(s.sizes) != 10 {
		t.Fatalf("order or sizes wrong: %v", s.sizes)
	}
}

func TestAFullQueueDropsAndCounts(t *testing.T) {
	var s sink
	q := newQueue(t, &s, nil)
	for i := range 150 {
		err := q.Add(i)
		if i >= 100 && !errors.Is(err, batch.ErrFull) {
			t.Fatalf("item %d: %v, want ErrFull", i, err)
		}
	}
	if q.Dropped() != 50 {
		t.Fatalf("dropped %d, want 50", q.Dropped())
	}
	if err := q.Stop(); err == nil || !strings.Contains(err.Error(), "lost 100 items: ") {
		t.Fatalf("Stop without Start: %v, want lost 100 items", err)
	}
	if err := q.Add(1); !errors.Is(err, lifecycle.ErrStopped) {
		t.Fatalf("Add after Stop: %v", err)
	}
}

func TestADeadServerIsRetriedUntilItIsBack(t *testing.T) {
	s := sink{down: true}
	q := newQueue(t, &s, nil)
	if err := q.Start(); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if err := q.Add(i); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := q.Flush(ctx); err == nil {
		t.Fatal("Flush hid the server's error")
	}
	s.set(func(s *sink) { s.down = false })
	eventually(t, "all arrive", func() bool { return s.count() == 50 })
	if err := q.Stop(); err != nil {
		t.Fatal(err)
	}
	if !slices.IsSorted(s.got) || q.Dropped() != 0 {
		t.Fatalf("got %v, dropped %d", s.got, q.Dropped())
	}
}

func start[T any](tb testing.TB, q *batch.Queue[T]) {
	tb.Helper()
	if err := q.Start(); err != nil {
		tb.Fatal(err)
	}
}

// add adds 0 to n-1.
func add(tb testing.TB, q *batch.Queue[int], n int) {
	tb.Helper()
	for i := range n {
		if err := q.Add(i); err != nil {
			tb.Fatal(err)
		}
	}
}

func TestStopFlushesOnceAndSaysWhatItLost(t *testing.T) {
	var s sink
	q := newQueue(t, &s, func(c *batch.Config[int]) { c.Interval = time.Hour })
	start(t, q)
	add(t, q, 7)
	if err := q.Stop(); err != nil || s.count() != 7 {
		t.Fatalf("flush at Stop: %v, %d items", err, s.count())
	}

	hanging := sink{hang: true}
	q = newQueue(t, &hanging, func(c *batch.Config[int]) { c.Timeout = time.Hour })
	start(t, q)
	add(t, q, 25)
	begin := time.Now()
	err := q.Stop()
	if took := time.Since(begin); took > lifecycle.FlushTimeout+10*time.Second {
		t.Errorf("Stop took %v", took)
	}
	if err == nil || !strings.Contains(err.Error(), "lost 25 items: ") {
		t.Fatalf("Stop with a hanging server: %v, want lost 25 items", err)
	}
}

// One item that can never be sent costs itself alone, wherever it stands.
func TestStopSaysWhyItLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, &sink{down: true}, nil)
		if err := errors.Join(q.Start(), q.Add(1)); err != nil {
			t.Fatal(err)
		}
		if err := q.Stop(); !errors.Is(err, lifecycle.ErrLost) || err.Error() != "lost 1 item: down" {
			t.Errorf("got %v", err)
		}
	})
}

func TestBatchInFlightAtStopIsCounted(t *testing.T) {
	begun := make(chan struct{}, 1)
	q := batch.New(batch.Config[int]{
		Name: "items", Size: 10, Interval: time.Millisecond, Timeout: time.Hour,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Send: func(ctx context.Context, _ []int) error {
			begun <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		},
	})
	add(t, q, 1)
	start(t, q)
	<-begun
	if err := q.Stop(); err == nil || !strings.Contains(err.Error(), "lost 1 item: ") || q.Dropped() != 1 {
		t.Fatalf("Stop: %v, %d dropped", err, q.Dropped())
	}
}

func TestStopTriesAgain(t *testing.T) {
	var s sink
	tries := 0
	q := newQueue(t, &s, func(c *batch.Config[int]) {
		c.Interval = time.Hour
		c.Send = func(ctx context.Context, items []int) error {
			if tries++; tries%3 != 0 {
				return errors.New("a dead node")
			}
			return s.send(ctx, items)
		}
	})
	start(t, q)
	add(t, q, 9)
	if err := q.Stop(); err != nil || s.count() != 9 || tries != 3 {
		t.Fatalf("%v, %d items after %d tries", err, s.count(), tries)
	}
}

func TestAddWaitWaitsForRoom(t *testing.T) {
	s := sink{}
	q := newQueue(t, &s, func(c *batch.Config[int]) { c.Size, c.Capacity = 5, 5 })
	add(t, q, 5)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := q.AddWait(ctx, 5); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if err := q.AddWait(context.Background(), i); err != nil {
				t.Error(err)
			}
		})
	}
	start(t, q)
	wg.Wait()
	if err := q.Stop(); err != nil {
		t.Fatal(err)
	}
	if s.count() != 45 || q.Dropped() != 1 {
		t.Fatalf("%d arrived, %d dropped, want 45 and 1", s.count(), q.Dropped())
	}
}

func TestStopReleasesThoseWhoWait(t *testing.T) {
	var s sink
	q := newQueue(t, &s, func(c *batch.Config[int]) { c.Size, c.Capacity = 1, 1 })
	add(t, q, 1)
	done := make(chan error, 1)
	go func() { done <- q.AddWait(context.Background(), 2) }()
	eventually(t, "the waiter is released", func() bool {
		_ = q.Stop() // it is what releases the waiter that matters
		select {
		case err := <-done:
			return errors.Is(err, lifecycle.ErrStopped)
		default:
			return false
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	q := batch.New(batch.Config[*int]{Name: "items", Send: func(context.Context, []*int) error { return nil }})
	start(b, q)
	item := new(int)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = q.Add(item) // a full queue drops, which costs less
		}
	})
	_ = q.Stop() // what it lost does not matter
}

func TestAQueueIsBoundedByWeight(t *testing.T) {
	var s sink
	q := newQueue(t, &s, func(c *batch.Config[int]) {
		c.Interval = time.Hour
		c.Limit, c.Weigh = 50, func(item int) int { return item }
	})
	if err := q.Add(1000); err != nil {
		t.Fatalf("an item heavier than the limit, alone: %v", err)
	}
	if err := q.Add(1); !errors.Is(err, batch.ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	start(t, q)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for range 20 { // each waits until the sender, woken by it, made room
		if err := q.AddWait(ctx, 30); err != nil {
			t.Fatal(err)
		}
	}
	if q.Len() > 1 {
		t.Errorf("%d items of weight 30 are held in 50", q.Len())
	}
	q.Drop(3)
	if err := q.Stop(); err != nil || s.count() != 21 || q.Dropped() != 4 {
		t.Fatalf("%v, %d arrived, %d dropped, want 21 and 4", err, s.count(), q.Dropped())
	}
}

func TestStopCountsTheBatchOfASenderThatHangs(t *testing.T) {
	release, begun := make(chan struct{}), make(chan struct{})
	q := batch.New(batch.Config[int]{Name: "items", Size: 3, Capacity: 3, Send: func(context.Context, []int) error {
		close(begun)
		<-release // whatever its context says
		return nil
	}})
	start(t, q)
	add(t, q, 3)
	<-begun
	if err := q.Stop(); err == nil || !strings.Contains(err.Error(), "lost 3 items: ") {
		t.Fatalf("got %v, want lost 3 items", err)
	}
	close(release)
}

// An eager queue does not wait for company, and what is given up is handed
// over.
func TestEagerAndLost(t *testing.T) {
	sent := make(chan int, 10)
	var lost []int
	fail := false
	q := batch.New(batch.Config[int]{
		Name: "items", Interval: time.Hour, Eager: true,
		Send: func(_ context.Context, items []int) error {
			if fail {
				return errors.New("told to")
			}
			for _, i := range items {
				sent <- i
			}
			return nil
		},
		Lost: func(items []int) { lost = append(lost, items...) },
	})
	if err := q.Start(); err != nil {
		t.Fatal(err)
	}
	add(t, q, 1)
	select {
	case <-sent:
	case <-time.After(time.Minute):
		t.Fatal("an eager queue waits for its interval")
	}
	if err := q.Flush(context.Background()); err != nil { // the sender rests
		t.Fatal(err)
	}
	fail = true
	add(t, q, 1)
	add(t, q, 1)
	if err := q.Stop(); err == nil || len(lost) != 2 {
		t.Fatalf("lost %v, %v", lost, err)
	}
}

// A Flush that Stop overtakes says so, whether or not there is a sender.
func TestFlushEndsWithStop(t *testing.T) {
	var s sink
	q := newQueue(t, &s, func(c *batch.Config[int]) { c.Interval = time.Hour })
	_ = q.Stop() // it holds nothing
	if err := q.Flush(context.Background()); !errors.Is(err, lifecycle.ErrStopped) {
		t.Errorf("without Start: %v", err)
	}
	release, begun := make(chan struct{}), make(chan struct{}, 10)
	q = newQueue(t, &s, func(c *batch.Config[int]) {
		c.Interval, c.Size, c.Timeout = time.Hour, 1, time.Hour
		c.Send = func(context.Context, []int) error { begun <- struct{}{}; <-release; return nil }
	})
	start(t, q)
	add(t, q, 3)
	<-begun
	over := make(chan error, 1)
	go func() { over <- q.Flush(context.Background()) }()
	stopped := make(chan error, 1)
	go func() { stopped <- q.Stop() }()
	eventually(t, "Stop has begun", func() bool { return errors.Is(q.Add(0), lifecycle.ErrStopped) })
	close(release)
	if err := <-over; err != nil && !errors.Is(err, lifecycle.ErrStopped) {
		t.Errorf("over Stop: %v", err)
	}
	if err := <-stopped; err == nil { // what Add dropped above
		t.Error("Stop says nothing of what was dropped meanwhile")
	}
	if err := q.Flush(context.Background()); !errors.Is(err, lifecycle.ErrStopped) {
		t.Errorf("after Stop: %v", err)
	}
}

// A Flush is not over before everything that was queued is sent, also when the
// loop ends under it.
func TestFlushOfHalfAQueue(t *testing.T) {
	for range 20 { // whether the sender hears of the items or of the Flush first is chance
		synctest.Test(t, func(t *testing.T) {
			var s sink
			stopped := make(chan error, 1)
			var q *batch.Queue[int]
			q = newQueue(t, &s, func(c *batch.Config[int]) {
				c.Interval, c.Size, c.Capacity = time.Hour, 1, 10
				c.Send = func(ctx context.Context, items []int) error {
					if items[0] == 0 { // the first one meets a Stop
						go func() { stopped <- q.Stop() }()
						synctest.Wait()
					}
					return s.send(ctx, items)
				}
			})
			add(t, q, 3)
			start(t, q)
			if err := q.Flush(context.Background()); err == nil && s.count() < 3 {
				t.Errorf("Flush says it is done when %d of 3 are", s.count())
			}
			if err := <-stopped; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestASendIsBoundedByWeight(t *testing.T) {
	var loads [][]int
	q := batch.New(batch.Config[int]{
		Name: "items", Interval: time.Hour, Load: 10, Weigh: func(item int) int { return item },
		Send: func(_ context.Context, items []int) error { loads = append(loads, slices.Clone(items)); return nil },
	})
	for _, item := range []int{4, 6, 1, 30, 9, 2, 2} {
		if err := q.Add(item); err != nil {
			t.Fatal(err)
		}
	}
	start(t, q)
	if err := q.Stop(); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(loads); got != "[[4 6] [1] [30] [9] [2 2]]" {
		t.Errorf("sent %s", got)
	}
}
