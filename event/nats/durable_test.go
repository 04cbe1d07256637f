package nats_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/nats"
	"github.com/micro/go-platform/internal/backend"
)

const patience = 30 * time.Second

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func start(t *testing.T, url, stream string) event.Event {
	t.Helper()
	e := nats.NewEvent(event.Servers(url), nats.Stream(stream))
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func publish(t *testing.T, e event.Event, data ...string) (last uint64) {
	t.Helper()
	all := make([]*event.Record, len(data))
	for i, d := range data {
		all[i] = &event.Record{Type: "x", Key: d, Data: d}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := e.PublishAll(ctx, all); err != nil {
		t.Fatal(err)
	}
	return all[len(all)-1].Sequence
}

func numbers(from, to int) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

// box is what a consumer got.
type box struct {
	mu  sync.Mutex
	got []string
}

func (b *box) add(_ context.Context, d *event.Delivery) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got = append(b.got, d.Data)
	return nil
}

func (b *box) count() int { b.mu.Lock(); defer b.mu.Unlock(); return len(b.got) }

func (b *box) sorted() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := slices.Clone(b.got)
	slices.Sort(all)
	return all
}

// consume consumes in the background until stop is called.
func consume(t *testing.T, e event.Event, h event.Consumer, opts ...event.ConsumeOption) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- e.Consume(ctx, h, append(opts, event.Types("x"))...) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-over; !errors.Is(err, context.Canceled) {
			t.Errorf("Consume: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// A subscription that becomes ordered, or is so no longer, goes on where it is,
// and so do the members that joined it before.
func TestSwitchToOrdered(t *testing.T) {
	t.Parallel() // it waits, and has a server of its own
	url := backend.NATS(t).URL
	d := event.Durable("d")
	streams := 0
	for _, c := range []struct {
		name          string
		first, second []event.ConsumeOption
	}{
		{"to ordered", nil, []event.ConsumeOption{event.Ordered()}},
		{"from ordered", []event.ConsumeOption{event.Ordered()}, nil},
	} {
		for _, from := range []event.ConsumeOption{event.FromNow(), event.FromBeginning()} {
			streams++
			t.Run(c.name, func(t *testing.T) {
				stream := fmt.Sprint("switch", streams)
				e := start(t, url, stream)
				var old, fresh box
				publish(t, e, "before")
				stop := consume(t, e, old.add, append(c.first, d, from)...)
				eventually(t, "it begins", func() bool { publish(t, e, "probe"); return old.count() > 0 })
				publish(t, e, "last")
				settled(t, url, stream)
				stop()
				want := numbers(0, 100)
				publish(t, e, want...)

				consume(t, e, fresh.add, append(c.second, d, from)...)
				slices.Sort(want)
				eventually(t, "the backlog is handled", func() bool { return fresh.count() >= len(want) })
				if got := fresh.sorted(); !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
			})
		}
	}
}

// settled waits until the subscriptions have settled everything.
func settled(t *testing.T, url, stream string) {
	t.Helper()
	s, err := js(t, url).Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is settled", func() bool {
		all := s.ListConsumers(t.Context())
		open := 0
		for c := range all.Info() {
			open += int(c.NumPending) + c.NumAckPending
		}
		return all.Err() == nil && open == 0
	})
}

// A rolling deploy that makes a subscription ordered: members of both kinds
// share the records, and none is handled by both.
func TestSwitchWhileRunning(t *testing.T) {
	t.Parallel() // it waits, and has a server of its own
	url := backend.NATS(t).URL
	e := start(t, url, "rolling")
	d := event.Durable("d")
	var old, fresh box
	consume(t, e, old.add, d, event.FromBeginning())
	publish(t, e, "first")
	eventually(t, "it begins", func() bool { return old.count() > 0 })
	settled(t, url, "rolling")
	consume(t, start(t, url, "rolling"), fresh.add, d, event.FromBeginning(), event.Ordered())
	n := 0
	eventually(t, "both have work", func() bool {
		publish(t, e, fmt.Sprint(n))
		n++
		return fresh.count() > 0 && old.count() > 10 || n > 2000
	})
	publish(t, e, numbers(n, n+500)...)
	n += 500
	eventually(t, "all is handled", func() bool { return fresh.count()+old.count() >= n+1 })
	settled(t, url, "rolling")
	seen := make(map[string]int)
	for _, data := range slices.Concat(old.sorted(), fresh.sorted()) {
		seen[data]++
	}
	// What the old one had in hand when the new one came is handled again.
	if twice := fresh.count() + old.count() - len(seen); len(seen) != n+1 || twice > 64 {
		t.Errorf("%d of %d records handled, %d twice", len(seen), n+1, twice)
	}
}

// What retention removed before any member got it is counted.
func TestRetentionOfDurable(t *testing.T) {
	t.Parallel() // it waits, and has a server of its own
	url := backend.NATS(t).URL
	for _, c := range []struct {
		name string
		away bool
	}{{"away", true}, {"slow", false}} {
		t.Run(c.name, func(t *testing.T) {
			e := start(t, url, c.name)
			var b box
			gate, entered := make(chan struct{}), make(chan struct{}, 1)
			h := func(ctx context.Context, d *event.Delivery) error {
				if d.Data == "first" {
					entered <- struct{}{}
					<-gate
				}
				return b.add(ctx, d)
			}
			stop := consume(t, e, h, event.Durable("d"), event.FromBeginning(), event.Prefetch(16))
			publish(t, e, "first")
			<-entered
			if c.away {
				close(gate)
				stop()
			}
			last := publish(t, e, numbers(0, 300)...)
			purge(t, url, c.name, last-50)
			if c.away {
				consume(t, e, h, event.Durable("d"))
			} else {
				close(gate)
			}
			const all = 301
			eventually(t, "each record is handled or counted", func() bool { return b.count()+int(e.Dropped()) >= all })
			if got := b.count(); got+int(e.Dropped()) != all || e.Dropped() < 200 {
				t.Errorf("of %d records %d were handled and %d are said to be dropped", all, got, e.Dropped())
			}
		})
	}
}

// Subscriptions that ended leave nothing behind.
func TestNothingIsLeftBehind(t *testing.T) {
	url := backend.NATS(t).URL
	e := start(t, url, "leak")
	publish(t, e, "first")
	before := runtime.NumGoroutine()
	for i := range 6 {
		var b box
		stop := consume(t, e, b.add, event.Durable(fmt.Sprint("d", i)), event.FromBeginning())
		eventually(t, "a delivery", func() bool { return b.count() > 0 })
		stop()
		publish(t, e, "y")
	}
	eventually(t, "the goroutines of ended subscriptions end", func() bool { return runtime.NumGoroutine() <= before+3 })
}

// Messages that came to a member after others with other types had taken the
// subscription over are theirs.
func TestTakenOverMeanwhile(t *testing.T) {
	t.Parallel() // it waits, and has a server of its own
	url := backend.NATS(t).URL
	e := start(t, url, "taken")
	var old, fresh box
	consume(t, e, old.add, event.Durable("d"), event.FromBeginning(), event.Types("y")) // and x: one subject for all types
	publish(t, e, "1")
	eventually(t, "it begins", func() bool { return old.count() == 1 })
	s, err := js(t, url).Stream(t.Context(), "taken")
	if err != nil {
		t.Fatal(err)
	}
	publishZ := func(data string) {
		if err := e.Publish(t.Context(), &event.Record{Type: "z", Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	publishZ("not for x and y") // so that it looks whose the subscription is
	settled(t, url, "taken")
	c, err := s.Consumer(t.Context(), "d")
	if err != nil {
		t.Fatal(err)
	}
	conf := c.CachedInfo().Config
	conf.Description = `types ["z"]`
	if _, err := s.UpdateConsumer(t.Context(), conf); err != nil {
		t.Fatal(err)
	}
	publishZ("for z")
	eventually(t, "the old member has seen it", func() bool {
		info, err := s.Consumer(t.Context(), "d")
		return err == nil && info.CachedInfo().Delivered.Consumer > 2
	})
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- start(t, url, "taken").Consume(ctx, fresh.add, event.Durable("d"), event.Types("z")) }()
	eventually(t, "the new member gets it", func() bool { return fresh.count() > 0 })
	cancel()
	<-over
}
