package kv_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/kv"
)

// begun starts a read that lasts until end is called.
func begun(t *testing.T, f *kv.Flights) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	reads := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = f.Do(ctx, "key", func() (string, error) { close(reads); <-ctx.Done(); return "before", nil }) // of no interest
	}()
	<-reads
	return func() { cancel(); <-over }
}

// A crowd that comes while a key is read shares one read, which began after they
// came.
func TestACrowdSharesARead(t *testing.T) {
	f := kv.NewFlights()
	end := begun(t, f)
	var reads atomic.Int64
	var wg sync.WaitGroup
	var come atomic.Int64
	for range 50 {
		wg.Go(func() {
			come.Add(1)
			got, err := f.Do(t.Context(), "key", func() (string, error) { reads.Add(1); return "after", nil })
			if got != "after" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	rpctest.Eventually(t, "they wait", func() bool { return come.Load() == 50 && f.Waits("key") })
	if reads.Load() > 0 {
		t.Error("somebody did not wait")
	}
	end()
	wg.Wait()
	if n := reads.Load(); n > 5 { // a late reader has a read of its own
		t.Errorf("%d reads for a crowd", n)
	}
	if f.Busy() != 0 {
		t.Errorf("%d keys are still read", f.Busy())
	}
}

// No caller waits for longer than its context, and a leader that gives up leaves the
// others to themselves.
func TestAFlightEndsWithItsContext(t *testing.T) {
	f := kv.NewFlights()
	end := begun(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	led := make(chan error)
	go func() {
		_, err := f.Do(ctx, "key", func() (string, error) { return "", errors.New("read in vain") })
		led <- err
	}()
	rpctest.Eventually(t, "it waits", func() bool { return f.Waits("key") })
	followed := make(chan string)
	go func() {
		got, err := f.Do(t.Context(), "key", func() (string, error) { return "own", nil })
		if err != nil {
			t.Error(err)
		}
		followed <- got
	}()
	late, cancelLate := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancelLate()
	if _, err := f.Do(late, "key", func() (string, error) { return "", errors.New("read in vain") }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a follower: %v", err)
	}
	cancel()
	select {
	case err := <-led:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the leader: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the leader ignores its context")
	}
	end()
	if got := <-followed; got != "own" {
		t.Errorf("%q", got)
	}
	if f.Busy() != 0 {
		t.Errorf("%d keys are still read", f.Busy())
	}
}

// An error is that of one reader: the others try themselves.
func TestAFlightThatFails(t *testing.T) {
	f := kv.NewFlights()
	end := begun(t, f)
	failed := errors.New("told to")
	results := make(chan error, 10)
	var first atomic.Bool
	for range 10 {
		go func() {
			_, err := f.Do(t.Context(), "key", func() (string, error) {
				if first.CompareAndSwap(false, true) {
					return "", failed
				}
				return "value", nil
			})
			results <- err
		}()
	}
	rpctest.Eventually(t, "somebody waits", func() bool { return f.Waits("key") })
	end()
	failures := 0
	for range 10 {
		if err := <-results; err != nil {
			failures++
		}
	}
	if failures != 1 || f.Busy() != 0 {
		t.Errorf("%d failed, %d keys are still read", failures, f.Busy())
	}
}
