package synctest

import (
	"context"
	"errors"
	"testing"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/sync"
)

func service(id string) sync.Option {
	return sync.Service(&registry.Service{Name: "test", Nodes: []*registry.Node{{Id: id, Address: "127.0.0.1:1"}}})
}

func newLeader(t *testing.T, s sync.Sync, id string, opts ...sync.LeaderOption) sync.Leader {
	t.Helper()
	l, err := s.Leader(id, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func status(t *testing.T, l sync.Leader, want sync.LeaderStatus) {
	t.Helper()
	if got, err := l.Status(); err != nil || got != want {
		t.Errorf("status %v, %v, want %v", got, err, want)
	}
}

func testLeader(t *testing.T, n New) {
	a, b := n.Start(t, service("a")), n.Start(t, service("b"))
	id := fresh()
	one, two := newLeader(t, a, id), newLeader(t, b, id, sync.LeaderNode(&registry.Node{Id: "b2"}))
	_, err := one.Leader()
	want(t, "empty seat", err, sync.ErrNotFound)
	status(t, one, sync.FollowerStatus)

	seat, err := one.Elect()
	if err != nil {
		t.Fatal(err)
	}
	status(t, one, sync.ElectedStatus)
	for _, l := range []sync.Leader{one, two} {
		if n, err := l.Leader(); err != nil || n.Id != "a" || n.Address != "127.0.0.1:1" {
			t.Errorf("leader %v, %v", n, err)
		}
	}
	_, err = one.Elect()
	want(t, "elect twice", err, sync.ErrHeld)

	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_, err = two.Elect(sync.WithContext(ctx))
	want(t, "elect within a deadline", err, context.DeadlineExceeded)

	next := make(chan sync.Elected, 1)
	go func() {
		e, err := two.Elect()
		if err != nil {
			t.Error(err)
		}
		next <- e
	}()
	eventually(t, patience, "a candidate", func() bool { st, _ := two.Status(); return st == sync.CandidateStatus })
	revoked, err := seat.Revoked()
	if err != nil || closed(revoked) {
		t.Errorf("revoked while held, %v", err)
	}
	before, err := seat.Token()
	if err != nil {
		t.Error(err)
	}
	if err := seat.Resign(); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "Revoked after Resign", func() bool { return closed(revoked) })
	want(t, "resign twice", seat.Resign(), sync.ErrNotHeld)
	_, err = seat.Token()
	want(t, "token after resign", err, sync.ErrNotHeld)
	successor := <-next
	if after, err := successor.Token(); err != nil || after <= before {
		t.Errorf("token %d after %d, %v", after, before, err)
	}
	if n, err := one.Leader(); err != nil || n.Id != "b2" {
		t.Errorf("leader %v, %v", n, err)
	}
	if err := successor.Resign(); err != nil {
		t.Error(err)
	}
	if !errors.Is(context.Cause(successor.Context()), sync.ErrNotHeld) {
		t.Errorf("context after resign: %v", context.Cause(successor.Context()))
	}
}

func testObserve(t *testing.T, n New) {
	a, b := n.Start(t, service("a")), n.Start(t)
	id := fresh()
	ctx, cancel := context.WithCancel(context.Background())
	seen, err := newLeader(t, b, id).Observe(sync.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	next := func(want string) {
		t.Helper()
		select {
		case n := <-seen:
			if got := map[bool]string{true: ""}[n == nil]; n == nil && got != want || n != nil && n.Id != want {
				t.Errorf("observed %v, want %q", n, want)
			}
		case <-time.After(patience):
			t.Fatalf("never observed %q", want)
		}
	}
	next("")
	for range 2 {
		seat, err := newLeader(t, a, id).Elect()
		if err != nil {
			t.Fatal(err)
		}
		next("a")
		if err := seat.Resign(); err != nil {
			t.Fatal(err)
		}
		next("")
	}
	cancel()
	select {
	case _, open := <-seen:
		if open {
			t.Error("observed more")
		}
	case <-time.After(patience):
		t.Error("Observe does not end with its context")
	}
}
