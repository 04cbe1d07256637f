// Package synctest is the suite that every sync plugin passes.
package synctest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/lifecycle/lifecycletest"
	"github.com/micro/go-platform/sync"
)

// New returns a Sync that is not started, on the server of the test: all that it
// returns for one test contend.
type New func(tb testing.TB, opts ...sync.Option) sync.Sync

// Start returns a Sync that is stopped when the test ends.
func (n New) Start(tb testing.TB, opts ...sync.Option) sync.Sync {
	tb.Helper()
	s := n(tb, opts...)
	if err := s.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// Server is a server whose state the suite can see.
type Server struct {
	New New
	// TTL is a short one that the server takes, and Expiry how long after the
	// last renewal it ends a lease at the latest, as a part of the TTL.
	TTL    time.Duration
	Expiry float64
	// Contenders returns how many hold or wait for the lock id in the default
	// namespace, as the server has it.
	Contenders func(tb testing.TB, id string) int
}

// patience is how long things may take that take a moment.
const patience = time.Minute

// Run is the suite for every plugin. It shares the server with other tests: it
// uses ids of its own.
func Run(t *testing.T, n New) {
	for name, test := range map[string]func(*testing.T, New){
		"Lock": testLock, "Wait": testWait, "Misuse": testMisuse, "Contention": testContention, "BadInput": testBadInput,
		"Leader": testLeader, "Observe": testObserve, "Every": testEvery, "Namespaces": testNamespaces,
		"Lifecycle": testLifecycle, "FirstCall": testFirstCall,
	} {
		t.Run(name, func(t *testing.T) { test(t, n) })
	}
}

// RunQueues is the suite of the order in which contenders wait and are served.
func RunQueues(t *testing.T, s Server) {
	for name, test := range map[string]func(*testing.T, Server){
		"Order": testOrder, "ReadWrite": testReadWrite, "Semaphore": testSemaphore, "Stop": testStop, "Nested": testNested,
	} {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
}

func fresh() string { return "test/" + uuid.NewString() }

func newLock(tb testing.TB, s sync.Sync, id string, opts ...sync.LockOption) sync.Lock {
	tb.Helper()
	l, err := s.Lock(id, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func acquire(tb testing.TB, l sync.Lock) uint64 {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.Acquire(sync.WithContext(ctx)); err != nil {
		tb.Fatal(err)
	}
	token, err := l.Token()
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

func release(tb testing.TB, l sync.Lock) {
	tb.Helper()
	if err := l.Release(); err != nil {
		tb.Fatal(err)
	}
}

func want(tb testing.TB, what string, err, target error) {
	tb.Helper()
	if !errors.Is(err, target) {
		tb.Errorf("%s: %v, want %v", what, err, target)
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func testLock(t *testing.T, n New) {
	a, b := n.Start(t), n.Start(t)
	id := fresh()
	first, second := newLock(t, a, id), newLock(t, b, id)
	if first.Id() != id || a.String() == "" {
		t.Errorf("id %q, string %q", first.Id(), a.String())
	}
	var last uint64
	for round := range 3 {
		for _, l := range []sync.Lock{first, second} {
			token := acquire(t, l)
			if token <= last {
				t.Errorf("round %d: token %d after %d", round, token, last)
			}
			last = token
			lost, ctx := l.Lost(), l.Context()
			if closed(lost) || ctx.Err() != nil {
				t.Error("lost while held")
			}
			release(t, l)
			if closed(lost) {
				t.Error("a release looks like a loss")
			}
			if !errors.Is(context.Cause(ctx), sync.ErrNotHeld) || ctx.Err() == nil {
				t.Errorf("context after release: %v", context.Cause(ctx))
			}
		}
	}
}

func testWait(t *testing.T, n New) {
	a, b := n.Start(t), n.Start(t)
	id := fresh()
	held := newLock(t, a, id)
	acquire(t, held)
	began := time.Now()
	err := newLock(t, b, id, sync.LockWait(100*time.Millisecond)).Acquire()
	want(t, "LockWait", err, context.DeadlineExceeded)
	if took := time.Since(began); took < 100*time.Millisecond || took > patience {
		t.Errorf("LockWait of 100ms took %v", took)
	}
	ctx, cancel := context.WithCancel(context.Background())
	waiting := newLock(t, b, id)
	done := make(chan error, 1)
	go func() { done <- waiting.Acquire(sync.WithContext(ctx)) }()
	select {
	case err := <-done:
		t.Fatalf("acquired what is held: %v", err)
	case <-time.After(50 * time.Millisecond):
		cancel()
	}
	want(t, "cancel", <-done, context.Canceled)
	release(t, held)
	// Contenders that gave up are not in the way.
	acquire(t, waiting)
	release(t, waiting)
}

func testMisuse(t *testing.T, n New) {
	a := n.Start(t)
	l := newLock(t, a, fresh())
	want(t, "release before acquire", l.Release(), sync.ErrNotHeld)
	_, err := l.Token()
	want(t, "token before acquire", err, sync.ErrNotHeld)
	if l.Lost() != nil || l.Context().Err() == nil {
		t.Error("what was never held has a loss or a context")
	}
	acquire(t, l)
	want(t, "acquire twice", l.Acquire(), sync.ErrHeld)
	release(t, l)
	want(t, "release twice", l.Release(), sync.ErrNotHeld)
}

// Call returns nil only if s has acquired a lock and released it.
func Call(s sync.Sync) error {
	l, err := s.Lock(fresh())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := l.Acquire(sync.WithContext(ctx)); err != nil {
		return err
	}
	return l.Release(sync.WithContext(ctx))
}

// testLifecycle is what all plugins of all features have in common.
func testLifecycle(t *testing.T, n New) {
	lifecycletest.Run(t, lifecycletest.Case[sync.Sync, sync.Option]{
		New: n, Call: Call,
		Bad: sync.Nodes("localhost"), Text: `sync: option Nodes: "localhost" is not host:port`, NilLogger: sync.Logger(nil),
	})
}

// Each method that needs the server starts a new plugin, and is refused by one
// that was stopped.
func testFirstCall(t *testing.T, n New) {
	for name, call := range map[string]func(s sync.Sync) error{
		"Acquire": Call,
		"Elect":   func(s sync.Sync) error { _, err := newLeader(t, s, fresh()).Elect(); return err },
		"Leader": func(s sync.Sync) error {
			_, err := newLeader(t, s, fresh()).Leader()
			if errors.Is(err, sync.ErrNotFound) {
				err = nil
			}
			return err
		},
		"Observe": func(s sync.Sync) error { _, err := newLeader(t, s, fresh()).Observe(); return err },
		"Every": func(s sync.Sync) error {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			err := s.Every(ctx, fresh(), time.Minute, func(context.Context, uint64) { cancel() })
			if errors.Is(err, context.Canceled) {
				err = nil
			}
			return err
		},
	} {
		s := n(t)
		if err := call(s); err != nil {
			t.Errorf("%s as the first call: %v", name, err)
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		if err := call(s); !errors.Is(err, sync.ErrStopped) || err.Error() != "sync: stopped" {
			t.Errorf("%s after Stop: %v", name, err)
		}
		bad := n(t, sync.Nodes("localhost"))
		if err := call(bad); !errors.Is(err, sync.ErrInvalid) || err.Error() != `sync: option Nodes: "localhost" is not host:port` {
			t.Errorf("%s with a bad option: %v", name, err)
		}
	}
}

func testBadInput(t *testing.T, n New) {
	a := n.Start(t)
	for _, id := range []string{"", "/", "a/", "/a", "a//b", "..", "a/../b", "a/.", "a\nb", "a\x00", "a\xff", string(make([]byte, sync.MaxId+1))} {
		if _, err := a.Lock(id); !errors.Is(err, sync.ErrInvalid) {
			t.Errorf("lock %q: %v", id, err)
		}
		if _, err := a.Leader(id); !errors.Is(err, sync.ErrInvalid) {
			t.Errorf("leader %q: %v", id, err)
		}
	}
	for text, o := range map[string]sync.LockOption{
		"LockTTL: 0s is not within 10ms to 24h0m0s":                sync.LockTTL(0),
		"LockTTL: 24h0m0.000000001s is not within 10ms to 24h0m0s": sync.LockTTL(sync.MaxLockTTL + 1),
		"LockWait: -1ns is less than 0s":                           sync.LockWait(-1),
		"Slots: 0 is not within 1 to 10000":                        sync.Slots(0),
		"Shared: not with Slots of 2":                              func(o *sync.LockOptions) { o.Shared, o.Slots = true, 2 },
	} {
		if _, err := a.Lock("x", o); !errors.Is(err, sync.ErrInvalid) || err.Error() != "sync: option "+text {
			t.Errorf("%v, want %s", err, text)
		}
	}
	large := &registry.Node{Id: strings.Repeat("n", 5000)}
	if _, err := a.Leader("x", sync.LeaderNode(large)); !errors.Is(err, sync.ErrInvalid) || !strings.HasPrefix(err.Error(), "sync: option LeaderNode: 50") {
		t.Errorf("LeaderNode: %v", err)
	}
	if _, err := a.Leader("x", sync.LeaderTTL(0)); !errors.Is(err, sync.ErrInvalid) || err.Error() != "sync: option LeaderTTL: 0s is not within 10ms to 24h0m0s" {
		t.Errorf("LeaderTTL: %v", err)
	}
	want(t, "period", a.Every(context.Background(), "x", 0, nil), sync.ErrInvalid)
	want(t, "nothing to run", a.Every(context.Background(), "x", time.Second, nil), sync.ErrInvalid)
	for text, o := range map[string]sync.Option{
		`Namespace: "/a/../b" has an empty element, . or .. between slashes`: sync.Namespace("/a/../b"),
		`Nodes: "http://a:1" is not host:port`:                               sync.Nodes("http://a:1"),
	} {
		if err := n(t, o).Start(); !errors.Is(err, sync.ErrInvalid) || err.Error() != "sync: option "+text {
			t.Errorf("%v, want %s", err, text)
		}
	}
}

func testNamespaces(t *testing.T, n New) {
	a, b := n.Start(t), n.Start(t, sync.Namespace("/elsewhere"))
	id := fresh()
	mine, theirs := newLock(t, a, id), newLock(t, b, id)
	acquire(t, mine)
	acquire(t, theirs)
	release(t, mine)
	release(t, theirs)
}

// testNested: an id that is the beginning of another one has nothing to do with
// it.
func testNested(t *testing.T, s Server) {
	a, b := s.New.Start(t, service("a")), s.New.Start(t)
	id := fresh()
	for _, under := range []string{id + "/42", id + "=2F42", id + "%2F42", id + "/" + strings.Repeat("é/", 100) + "x"} {
		inner, outer := newLock(t, a, under), newLock(t, b, id)
		acquire(t, inner)
		acquire(t, outer)
		if n := s.Contenders(t, id); n != 1 {
			t.Errorf("%d contenders while %q is held", n, under)
		}
		release(t, outer)
		semaphore := newLock(t, b, id, sync.Slots(3))
		acquire(t, semaphore)
		release(t, semaphore)
		release(t, inner)

		seat, err := newLeader(t, a, under).Elect()
		if err != nil {
			t.Fatal(err)
		}
		_, err = newLeader(t, b, id).Leader()
		want(t, "leader of an empty seat above "+under, err, sync.ErrNotFound)
		if n, err := newLeader(t, b, under).Leader(); err != nil || n.Id != "a" {
			t.Errorf("leader of %q: %v, %v", under, n, err)
		}
		if err := seat.Resign(); err != nil {
			t.Error(err)
		}
	}
}

func testStop(t *testing.T, s Server) {
	a, b := s.New(t), s.New.Start(t)
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	id := fresh()
	held := newLock(t, a, id)
	acquire(t, held)
	done := s.queued(t, newLock(t, a, id))
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	want(t, "a wait that Stop ended", <-done, sync.ErrStopped)
	if !closed(held.Lost()) {
		t.Error("Stop did not tell the holder")
	}
	began := time.Now()
	acquire(t, newLock(t, b, id))
	if took := time.Since(began); took > s.TTL && took > time.Second {
		t.Errorf("Stop gave back after %v only", took)
	}
}

// eventually polls until ok holds.
func eventually(tb testing.TB, bound time.Duration, what string, ok func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(bound); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	tb.Fatal("never happened: " + fmt.Sprint(what))
}
