package lifecycle_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/leak"
	"github.com/micro/go-platform/internal/lifecycle"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestStartRunsOnceAndStopWaits(t *testing.T) {
	var g lifecycle.Group
	var started, ended atomic.Int32
	loop := func(ctx context.Context) {
		started.Add(1)
		<-ctx.Done()
		ended.Add(1)
	}
	for range 2 {
		if err := g.Start(loop, loop); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := g.Stop(time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if started.Load() != 2 || ended.Load() != 2 {
		t.Fatalf("started %d, ended %d loops, want 2 and 2", started.Load(), ended.Load())
	}
	if err := g.Start(loop); !errors.Is(err, lifecycle.ErrStopped) {
		t.Fatalf("Start after Stop: %v, want ErrStopped", err)
	}
}

func TestStopIsBounded(t *testing.T) {
	var g lifecycle.Group
	release := make(chan struct{})
	if err := g.Start(func(context.Context) { <-release }); err != nil {
		t.Fatal(err)
	}
	if err := g.Stop(10 * time.Millisecond); !errors.Is(err, lifecycle.ErrStopTimeout) {
		t.Fatalf("Stop with a hanging loop: %v, want ErrStopTimeout", err)
	}
	close(release)
}

func TestStopWithoutStart(t *testing.T) {
	var g lifecycle.Group
	if err := g.Stop(time.Second); err != nil {
		t.Fatal(err)
	}
	if g.Running() {
		t.Fatal("running after Stop")
	}
}

func TestEveryEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	lifecycle.Every(ctx, time.Millisecond, func() {
		if calls++; calls == 3 {
			cancel()
		}
	})
	if calls < 3 {
		t.Errorf("%d calls, want 3", calls)
	}
	lifecycle.Every(ctx, time.Hour, func() { t.Error("called") })
}

func TestSleepEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	if !lifecycle.Sleep(ctx, time.Millisecond) {
		t.Error("a sleep did not end by itself")
	}
	time.AfterFunc(5*time.Millisecond, cancel)
	if lifecycle.Sleep(ctx, time.Hour) {
		t.Error("a sleep of an hour is over")
	}
}
