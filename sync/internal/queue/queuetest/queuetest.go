// Package queuetest is what every store of package queue passes, beside the
// suite of sync that its plugin passes.
package queuetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/micro/go-platform/sync/internal/queue"
)

// Run closes the store.
func Run(t *testing.T, s queue.Store) {
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	lease, _, err := s.Grant(ctx, 15*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	key := "/micro/sync/lock/" + uuid.NewString()
	enter := func(name string) (queue.Ref, queue.Queue) {
		q, err := s.Enter(ctx, lease, key, name, nil)
		if err != nil {
			t.Fatal(err)
		}
		return queue.Ref{Queue: key, Name: name, Order: q.Entries[len(q.Entries)-1].Order}, q
	}
	first, _ := enter("a")
	second, before := enter("b")
	if err := s.Leave(ctx, first); err != nil {
		t.Fatal(err)
	}
	again, after := enter("a")
	if len(after.Entries) != 2 || after.Entries[0].Name != "b" || again.Order <= second.Order {
		t.Fatalf("%v after %v", after, before)
	}
	// Who waited for the first entry shall not wait for the one that has its
	// name now, which is behind it.
	if err := s.Wait(ctx, first, before); err != nil {
		t.Errorf("wait for an entry that is gone: %v", err)
	}
	short, done := context.WithTimeout(ctx, 300*time.Millisecond)
	defer done()
	if err := s.Wait(short, again, after); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait for an entry that is there: %v", err)
	}
	if _, err := s.Enter(ctx, lease, key, "a", nil); !errors.Is(err, queue.ErrExists) {
		t.Errorf("enter again: %v", err)
	}
	bound, err := s.Bound(ctx, lease)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, ref := range bound {
		names[ref.Name] = ref.Queue == key
	}
	if len(bound) != 2 || !names["a"] || !names["b"] {
		t.Errorf("the lease has %v", bound)
	}
	revoke(ctx, t, s, lease, key)
}

// revoke ends the lease: its entries in the queue go with it, and it cannot be
// used again.
func revoke(ctx context.Context, t *testing.T, s queue.Store, lease, key string) {
	t.Helper()
	watched := make(chan error, 1)
	go func() { watched <- s.Watch(ctx, lease) }()
	if err := s.Revoke(ctx, lease); err != nil {
		t.Fatal(err)
	}
	if err := <-watched; err != nil {
		t.Errorf("watch of a lease that was revoked: %v", err)
	}
	if q, err := s.List(ctx, key); err != nil || len(q.Entries) != 0 {
		t.Errorf("entries %v of a lease that was revoked, %v", q, err)
	}
	if _, err := s.Enter(ctx, lease, key, "c", nil); !errors.Is(err, queue.ErrGone) {
		t.Errorf("enter with a lease that was revoked: %v", err)
	}
	if err := s.Renew(ctx, lease); !errors.Is(err, queue.ErrGone) {
		t.Errorf("renewal of a lease that was revoked: %v", err)
	}
}
