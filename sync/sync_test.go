package sync_test

import (
	"context"
	"slices"
	"strings"
	stdsync "sync"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/memory"
	"go-micro.dev/v6/server"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

// The original's programs assign to it.
func TestDefaultNamespaceIsAVariable(t *testing.T) {
	if at := &sync.DefaultNamespace; *at == "" {
		t.Error("no namespace")
	}
}

func TestContext(t *testing.T) {
	s := memory.NewSync()
	if _, ok := sync.FromContext(t.Context()); ok {
		t.Error("a Sync out of nothing")
	}
	seen := func(ctx context.Context) error {
		if got, ok := sync.FromContext(ctx); !ok || got != s {
			t.Errorf("%v, %v", got, ok)
		}
		return nil
	}
	h := sync.HandlerWrapper(s)(func(ctx context.Context, _ server.Request, _ any) error { return seen(ctx) })
	if err := h(t.Context(), nil, nil); err != nil {
		t.Error(err)
	}
	sub := sync.SubscriberWrapper(s)(func(ctx context.Context, _ server.Message) error { return seen(ctx) })
	if err := sub(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

func TestStatusSaysWhatItIs(t *testing.T) {
	for status, want := range map[sync.LeaderStatus]string{0: "follower", 1: "candidate", 2: "elected", 3: "unknown"} {
		if status.String() != want {
			t.Errorf("%d is %v", status, status)
		}
	}
}

// Options that are nil are those that were not given.
func TestNilOptions(t *testing.T) {
	s := memory.NewSync(sync.Service(nil), sync.TLS(nil), sync.Logger(nil), sync.Trace(nil))
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	l, err := s.Leader("x", sync.LeaderNode(nil))
	if err != nil {
		t.Fatal(err)
	}
	var none context.Context
	seat, err := l.Elect(sync.WithContext(none))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := l.Leader(); err != nil || n == nil {
		t.Errorf("leader %v, %v", n, err)
	}
	if err := seat.Resign(); err != nil {
		t.Error(err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}

type key struct{}

// Every call that asks the server goes through Trace, with the values of the
// caller's context, Resign with those of Elect.
func TestTrace(t *testing.T) {
	var mu stdsync.Mutex
	var names []string
	s := memory.NewSync(sync.Trace(func(ctx context.Context, name string, work func(context.Context) error) error {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Value(key{}) != "span" {
			t.Errorf("%s: the caller's values are gone", name)
		}
		names = append(names, name)
		return work(context.WithValue(ctx, key{}, "child"))
	}))
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "span"))
	lock, err := s.Lock("a/1")
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Acquire(sync.WithContext(ctx)); err != nil {
		t.Fatal(err)
	}
	if err := lock.Release(sync.WithContext(ctx)); err != nil {
		t.Error(err)
	}
	leader, err := s.Leader("b")
	if err != nil {
		t.Fatal(err)
	}
	seat, err := leader.Elect(sync.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	if err := seat.Resign(); err != nil {
		t.Error(err)
	}
	_ = s.Every(ctx, "c", time.Minute, func(ctx context.Context, _ uint64) { // it ends with ctx
		if ctx.Value(key{}) != "child" {
			t.Error("a run outside of its span")
		}
		cancel()
	})
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if want := []string{"acquire a/1", "release a/1", "elect b", "resign b", "run c"}; !slices.Equal(names, want) {
		t.Errorf("traced %s, want %s", strings.Join(names, ", "), strings.Join(want, ", "))
	}
}
