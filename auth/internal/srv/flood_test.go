package srv_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authsrv "github.com/micro/go-platform/auth/internal/srv"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/rpctest"
)

// Attack: a flood of wrong secrets for many clients from many peers. Checks of
// those who knew their secret before take about what they took without it: they
// have a lane and processors of their own, and nearly all need no hash.
func TestFlood(t *testing.T) {
	var told error
	for range 3 { // other work on the machine spoils a comparison, not three
		if told = flood(t); told == nil {
			return
		}
		t.Log(told)
	}
	t.Error(told)
}

// flood compares checks in a flood with those before and after it.
func flood(t *testing.T) error {
	t.Helper()
	checker := authsrv.NewChecker(t, "normal")
	quiet := checker.Measure(t, 10)

	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var limited, wrong int
	var mu sync.Mutex
	for flooder := range 50 {
		wg.Go(func() {
			pace := time.NewTicker(10 * time.Millisecond) // 5 000 guesses a second in all
			defer pace.Stop()
			for i := 0; ctx.Err() == nil; i++ {
				<-pace.C
				err := checker.Check(ctx, fmt.Sprintf("10.0.%d.%d", flooder, i%250), fmt.Sprint("client", i), "wrong")
				mu.Lock()
				if errors.Is(err, rpcerr.ErrLimited) {
					limited++
				} else {
					wrong++
				}
				mu.Unlock()
			}
		})
	}
	flooded := checker.Measure(t, 40)
	var normal []time.Duration
	for range 200 {
		began := time.Now()
		if err := checker.Check(t.Context(), "10.9.9.9", "normal", "the secret"); err != nil {
			t.Fatal(err)
		}
		normal = append(normal, time.Since(began))
	}
	cancel()
	wg.Wait()
	after := checker.Measure(t, 10)
	median := func(d []time.Duration) time.Duration { slices.Sort(d); return d[len(d)/2] }
	p95 := func(d []time.Duration) time.Duration { slices.Sort(d); return d[len(d)*95/100] }
	if median(after) > median(quiet) {
		quiet = after
	}
	t.Logf("proven before, in a flood: median %v, p95 %v", median(normal), p95(normal))
	t.Logf("quiet: median %v, p95 %v; in a flood: median %v, p95 %v; the flood: %d hashed, %d refused", median(quiet), p95(quiet), median(flooded), p95(flooded), wrong, limited)
	if wrong == 0 {
		return errors.New("there was no flood")
	}
	if p95(normal) > 2*median(quiet) {
		return fmt.Errorf("p95 of normal checks is %v in a flood, want at most twice the %v of a check without", p95(normal), median(quiet))
	}
	// In one queue with the flood a check would wait for some fifty others. What
	// it takes beside the flood is for the processors to say: see the log.
	if bound := 15 * median(quiet); median(flooded) > bound {
		return fmt.Errorf("median %v in a flood, want at most %v", median(flooded), bound)
	}
	return nil
}

// A flood from one place leaves room for first logins from another one.
func TestFloodOfOnePeerLeavesRoom(t *testing.T) {
	checker := authsrv.NewChecker(t, "normal")
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer wg.Wait()
	defer cancel()
	var refused atomic.Int64
	for i := range 90 {
		wg.Go(func() {
			if err := checker.Check(ctx, "10.1.0.1", fmt.Sprint("c", i), "wrong"); errors.Is(err, rpcerr.ErrLimited) {
				refused.Add(1)
			}
		})
	}
	rpctest.Eventually(t, "the flood is there", func() bool { return refused.Load() > 0 })
	if err := checker.Check(t.Context(), "10.1.0.2", "normal", "the secret"); err != nil {
		t.Errorf("first login in a flood: %v", err)
	}
}

// A flood beyond the queue is refused at once, not kept waiting.
func TestFloodIsRefused(t *testing.T) {
	checker := authsrv.NewChecker(t, "normal")
	var wg sync.WaitGroup
	var mu sync.Mutex
	refused := 0
	for i := range 100 {
		wg.Go(func() {
			if err := checker.Check(t.Context(), fmt.Sprint("10.1.0.", i), fmt.Sprint("c", i), "wrong"); errors.Is(err, rpcerr.ErrLimited) {
				mu.Lock()
				defer mu.Unlock()
				refused++
			}
		})
	}
	wg.Wait()
	if refused < 20 {
		t.Errorf("%d of 100 were refused", refused)
	}
}

// A proven secret is not hashed again, unless the account got another one.
func BenchmarkProven(b *testing.B) {
	checker := authsrv.NewChecker(b, "normal")
	b.ReportAllocs()
	for b.Loop() {
		if err := checker.Check(b.Context(), "10.0.0.1", "normal", "the secret"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHash(b *testing.B) {
	checker := authsrv.NewChecker(b, "normal")
	b.ReportAllocs()
	for b.Loop() {
		checker.Forget()
		if err := checker.Check(b.Context(), "10.0.0.1", "normal", "the secret"); err != nil {
			b.Fatal(err)
		}
	}
}
