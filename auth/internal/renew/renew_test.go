package renew_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/go-platform/auth/internal/renew"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

var errDown = errors.New("down")

// source counts fetches and fails while it is told to.
type source struct {
	n        atomic.Int64
	down     atomic.Bool
	lifetime time.Duration
}

func (s *source) fetch(context.Context) (int64, time.Duration, error) {
	n := s.n.Add(1)
	if s.down.Load() {
		return 0, 0, errDown
	}
	return n, s.lifetime, nil
}

func start(t *testing.T, s *source, change func(*renew.Config[int64])) *renew.Renewer[int64] {
	t.Helper()
	c := renew.Config[int64]{Name: "value", Fetch: s.fetch, Logger: slog.New(slog.DiscardHandler), Timeout: time.Second, Retry: 20 * time.Millisecond}
	if change != nil {
		change(&c)
	}
	r := renew.New(c)
	if _, err := r.Get(); !errors.Is(err, rpcerr.ErrUnavailable) {
		t.Errorf("before it runs: %v", err)
	}
	r.Open()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { r.Loop(ctx); close(done) }()
	t.Cleanup(func() {
		cancel()
		<-done
		if _, err := r.Get(); !errors.Is(err, lifecycle.ErrStopped) {
			t.Errorf("afterwards: %v", err)
		}
	})
	return r
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func TestGetWaitsForTheFirst(t *testing.T) {
	r := start(t, &source{lifetime: time.Hour}, nil)
	if v, err := r.Get(); v != 1 || err != nil {
		t.Errorf("%v %v", v, err)
	}
}

func TestRenewedEarlyWithoutAGap(t *testing.T) {
	s := &source{lifetime: 200 * time.Millisecond}
	r := start(t, s, nil)
	eventually(t, "three values", func() bool {
		v, err := r.Get()
		if err != nil {
			t.Fatal(err)
		}
		return v >= 3
	})
}

func TestOutage(t *testing.T) {
	s := &source{lifetime: 100 * time.Millisecond}
	s.down.Store(true)
	r := start(t, s, nil)
	if _, err := r.Get(); !errors.Is(err, errDown) {
		t.Errorf("while it is down: %v", err)
	}
	s.down.Store(false)
	eventually(t, "it heals", func() bool { _, err := r.Get(); return err == nil })
	s.down.Store(true)
	if _, ok := r.Peek(); !ok {
		t.Error("a value that is good was given up")
	}
	eventually(t, "the value ends", func() bool { _, err := r.Get(); return errors.Is(err, errDown) })
}

func TestEvery(t *testing.T) {
	s := &source{lifetime: time.Hour}
	start(t, s, func(c *renew.Config[int64]) { c.Every = 10 * time.Millisecond })
	eventually(t, "fetched again and again", func() bool { return s.n.Load() > 5 })
}

// However often somebody finds the value bad, it is fetched once per Again.
func TestRenewIsBounded(t *testing.T) {
	s := &source{lifetime: time.Hour}
	r := start(t, s, func(c *renew.Config[int64]) { c.Again = 100 * time.Millisecond })
	begun := time.Now()
	eventually(t, "fetched twice more", func() bool { r.Renew(); return s.n.Load() >= 3 })
	if took := time.Since(begun); took < 150*time.Millisecond {
		t.Errorf("after %v", took)
	}
}

// What has expired is neither a value nor a success, whether the next fetch hangs or
// the loop has not come to it yet.
func TestExpiredIsAnError(t *testing.T) {
	s := &source{lifetime: time.Millisecond}
	hang := make(chan struct{})
	r := start(t, s, func(c *renew.Config[int64]) {
		c.Timeout = 20 * time.Millisecond
		c.Fetch = func(ctx context.Context) (int64, time.Duration, error) {
			if s.n.Load() > 0 {
				<-hang
			}
			return s.fetch(ctx)
		}
	})
	defer close(hang)
	eventually(t, "the only value has expired", func() bool { _, ok := r.Peek(); return !ok && s.n.Load() > 0 })
	for range 3 {
		if v, err := r.Get(); !errors.Is(err, rpcerr.ErrUnavailable) {
			t.Errorf("%v, %v", v, err)
		}
	}
}
