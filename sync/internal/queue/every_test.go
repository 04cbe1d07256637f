package queue_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/internal/memstore"
	"github.com/micro/go-platform/sync/internal/queue"
)

// The run of one process is known to the next one, which has to wait for the
// period to pass.
func TestEveryOncePerPeriod(t *testing.T) {
	server := memstore.NewServer()
	runs := make(chan struct{}, 10)
	var stores []*faulty
	for range 2 {
		f := newFaulty(server)
		stores = append(stores, f)
		s := start(t, f)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- s.Every(ctx, "x", time.Hour, func(context.Context, uint64) { runs <- struct{}{} })
		}()
		rpctest.Eventually(t, "a holder of the duty", func() bool { return f.called("Load") > 0 && len(runs) > 0 })
		select {
		case err := <-done:
			t.Fatal(err)
		case <-time.After(200 * time.Millisecond): // time to run once more
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if len(runs) != 1 || stores[0].called("Save") != 1 || stores[1].called("Save") != 0 {
		t.Errorf("%d runs, %d and %d of them told", len(runs), stores[0].called("Save"), stores[1].called("Save"))
	}
}

// A run hears that its duty went to another process.
func TestEveryTellsItsRunOfTheLoss(t *testing.T) {
	f := newFaulty(memstore.NewServer())
	s := start(t, f)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	_ = s.Every(ctx, "x", time.Hour, func(run context.Context, _ uint64) { // it ends with ctx
		f.once("Enter", says(queue.ErrGone))
		acquire(t, lock(t, s))
		within(t, "the context of the run ends", run.Done())
		if !errors.Is(context.Cause(run), sync.ErrLost) || ctx.Err() != nil {
			t.Errorf("the run ended by %v", context.Cause(run))
		}
		cancel()
	})
}

// What is waited out is told once, and a loss says why.
func TestTroubleIsTold(t *testing.T) {
	var out rpctest.Buffer
	f := newFaulty(memstore.NewServer())
	s := start(t, f, sync.Logger(slog.New(slog.NewTextHandler(&out, nil))))
	l := lock(t, s, sync.LockTTL(time.Second))
	acquire(t, l)
	lost, held := l.Lost(), l.Context()
	f.on("Renew", broken)
	f.on("Load", broken)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Every(ctx, "duty", time.Hour, func(context.Context, uint64) {}) }()
	within(t, "lost", lost)
	rpctest.Eventually(t, "tries of a duty", func() bool { return f.called("Load") > 2 })
	cancel()
	<-done
	for _, line := range []string{"a lease cannot be renewed", "a duty does not run here"} {
		if n := strings.Count(out.String(), line); n != 1 || f.called("Renew") < 2 {
			t.Errorf("%q is said %d times of %d:\n%s", line, n, f.called("Renew"), &out)
		}
	}
	if !strings.Contains(out.String(), errBroken.Error()) || !strings.Contains(context.Cause(held).Error(), errBroken.Error()) {
		t.Errorf("nobody says why: %v\n%s", context.Cause(held), &out)
	}
	if _, err := l.Token(); !errors.Is(err, sync.ErrLost) || !strings.Contains(err.Error(), errBroken.Error()) {
		t.Errorf("token: %v", err)
	}
}
