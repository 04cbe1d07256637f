package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/internal/rpctest"
)

// one subscription of a herd.
type one struct {
	last   atomic.Uint64
	gaps   atomic.Int64
	passed atomic.Int64 // when it got a record at or beyond the mark, unix nanoseconds
}

// Everybody loses event-srv at the same moment and wants it back at once:
// all subscriptions go on within half a minute, without a gap.
func TestFaultEventHerd(t *testing.T) {
	const clients = 8
	count := 200
	if rpctest.Long() {
		count = 1000
	}
	srv := startEventSrv(t)
	var mark atomic.Uint64
	mark.Store(1 << 60)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer func() { cancel(); running.Wait() }()
	all := make([]*one, count)
	var e event.Event
	for i := range all {
		if i%(count/clients) == 0 { // so many share a client and its connections
			e = openEvent(t, srv.consul)
		}
		o, e := &one{}, e
		all[i] = o
		opts := []event.ConsumeOption{event.FromBeginning()}
		if i%4 == 0 {
			opts = append(opts, event.Durable(fmt.Sprint("herd ", i)))
		}
		running.Go(func() {
			err := e.Consume(ctx, func(_ context.Context, d *event.Delivery) error {
				if last := o.last.Load(); d.Sequence > last+1 {
					o.gaps.Add(1)
				}
				o.last.Store(max(o.last.Load(), d.Sequence))
				if d.Sequence >= mark.Load() {
					o.passed.CompareAndSwap(0, time.Now().UnixNano())
				}
				return nil
			}, opts...)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Consume ended by itself: %v", err)
			}
		})
	}
	publisher := openEvent(t, srv.consul)
	publish := func() uint64 {
		r := &event.Record{}
		rpctest.Eventually(t, "a record is acknowledged", func() bool { return publisher.Publish(ctx, r) == nil })
		return r.Sequence
	}
	reached := func(seq uint64) (n int) {
		for _, o := range all {
			if o.last.Load() >= seq {
				n++
			}
		}
		return n
	}
	arrives := func(seq uint64, within time.Duration) {
		t.Helper()
		for deadline := time.Now().Add(within); reached(seq) < count; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d of %d subscriptions got record %d within %v", reached(seq), count, seq, within)
			}
		}
	}
	arrives(publish(), time.Minute)
	srv.Kill()
	time.Sleep(rpctest.Phase()) // the outage: everybody notices and waits
	srv.Start()
	back := time.Now()
	mark.Store(publish() + 1)
	arrives(publish(), 30*time.Second)
	var took []time.Duration
	for i, o := range all {
		if n := o.gaps.Load(); n > 0 {
			t.Errorf("subscription %d: %d gaps", i, n)
		}
		took = append(took, time.Unix(0, o.passed.Load()).Sub(back))
	}
	slices.Sort(took)
	t.Logf("%d subscriptions over %d clients are back: half of them after %v, the last after %v",
		count, clients, took[count/2].Round(time.Millisecond), took[count-1].Round(time.Millisecond))
}
