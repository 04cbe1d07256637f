// Package eventtest checks whether an Event keeps the contract.
package eventtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/internal/lifecycle/lifecycletest"
)

// New returns an Event that is not started, with all of the options. The Events of
// one test share a log, which is empty at first; see Sharing.
type New func(t testing.TB, opts ...event.Option) event.Event

// Sharing returns a New on the logs that newLog makes, one for each test.
func Sharing(newLog func(t testing.TB) func(opts ...event.Option) event.Event) New {
	var mu sync.Mutex
	logs := make(map[testing.TB]func(...event.Option) event.Event)
	return func(t testing.TB, opts ...event.Option) event.Event {
		mu.Lock()
		defer mu.Unlock()
		if logs[t] == nil {
			logs[t] = newLog(t)
			t.Cleanup(func() {
				mu.Lock()
				defer mu.Unlock()
				delete(logs, t)
			})
		}
		return logs[t](opts...)
	}
}

// opener is a New for one test.
type opener func(opts ...event.Option) event.Event

func (n New) in(t *testing.T) opener {
	return func(opts ...event.Option) event.Event { return n(t, opts...) }
}

// Run runs the suite.
func Run(t *testing.T, newEvent func(t testing.TB, opts ...event.Option) event.Event) {
	n := New(newEvent)
	t.Run("Lifecycle", func(t *testing.T) { lifecycletest.Run(t, lives(n)) })
	for _, c := range []struct {
		name string
		test func(t *testing.T, open opener)
	}{
		{"KeepsRecords", keepsRecords},
		{"BadInput", badInput},
		{"FirstCalls", firstCalls},
		{"Duplicates", duplicates},
		{"Reused", reused},
		{"Conflicts", conflicts},
		{"PublishAll", publishAll},
		{"PublishAsync", publishAsync},
		{"AsyncReused", asyncReused},
		{"Large", large},
		{"Pages", pages},
		{"Types", types},
		{"Starts", starts},
		{"HistoryThenLive", historyThenLive},
		{"EndOfConsume", endOfConsume},
		{"SlowSubscriber", slowSubscriber},
		{"Trace", traced},
		{"DurableResumes", durableResumes},
		{"DurableRetries", durableRetries},
		{"DurableDelay", durableDelay},
		{"DeadLetters", deadLetters},
		{"Group", group},
		{"Ordered", ordered},
		{"HungHandler", hungHandler},
		{"SlowDurable", slowDurable},
		{"LargestRecord", largestRecord},
		{"LargeDeadLetter", largeDeadLetter},
		{"DeadlyRecord", deadlyRecord},
		{"HungPlace", hungPlace},
		{"HostileHandler", hostileHandler},
		{"HostilePlainHandler", hostilePlainHandler},
		{"HostileDone", hostileDone},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, n.in(t)) })
	}
}

func lives(n New) lifecycletest.Case[event.Event, event.Option] {
	return lifecycletest.Case[event.Event, event.Option]{
		New: n,
		Call: func(e event.Event) error {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			for { // a connection that is made in the background is not there at once
				err := e.Publish(ctx, &event.Record{})
				if !errors.Is(err, event.ErrUnavailable) || ctx.Err() != nil {
					return err
				}
				time.Sleep(10 * time.Millisecond)
			}
		},
		Bad: event.Timeout(-time.Second), Text: "event: option Timeout: -1s is not positive",
		NilLogger: event.Logger(nil),
	}
}

// patience is how long anything may take on a busy machine.
const patience = 30 * time.Second

// start starts an Event and stops it when the test ends.
func start(t *testing.T, open opener, opts ...event.Option) event.Event {
	t.Helper()
	e := open(opts...)
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

// publish publishes a record of the type for each text, and for longer than
// anything takes.
func publish(t *testing.T, e event.Event, typ string, data ...string) []*event.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var all []*event.Record
	for _, d := range data {
		all = append(all, &event.Record{Type: typ, Data: d})
	}
	if err := e.PublishAll(ctx, all); err != nil {
		t.Fatal(err)
	}
	return all
}

func numbers(from, to int) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

// inbox is what a consumer got.
type inbox struct {
	t    *testing.T
	mu   sync.Mutex
	got  []*event.Delivery
	end  context.CancelFunc
	over chan error
}

// consume begins to consume in the background. The inbox notes what c, if
// any, returned nil for.
func consume(t *testing.T, e event.Event, c event.Consumer, opts ...event.ConsumeOption) *inbox {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	in := &inbox{t: t, end: cancel, over: make(chan error, 1)}
	go func() {
		in.over <- e.Consume(ctx, func(ctx context.Context, d *event.Delivery) error {
			if c != nil {
				if err := c(ctx, d); err != nil {
					return err
				}
			}
			in.mu.Lock()
			defer in.mu.Unlock()
			in.got = append(in.got, d)
			return nil
		}, opts...)
	}()
	t.Cleanup(func() { _ = in.stop() }) // the error is the test's affair
	return in
}

// stop ends Consume and returns its error; it is idempotent.
func (in *inbox) stop() error {
	in.end()
	select {
	case err := <-in.over:
		in.over <- err
		return err
	case <-time.After(patience):
		in.t.Error("Consume did not end")
		return nil
	}
}

func (in *inbox) data() []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	all := make([]string, len(in.got))
	for i, d := range in.got {
		all[i] = d.Data
	}
	return all
}

func (in *inbox) deliveries() []*event.Delivery {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.got)
}

// want waits until the data came and nothing else did.
func (in *inbox) want(data ...string) {
	in.t.Helper()
	eventually(in.t, func() bool { return len(in.data()) >= len(data) }, func() string { return fmt.Sprintf("got %.300v, want %.300v", in.data(), data) })
	if got := in.data(); !slices.Equal(got, data) {
		in.t.Fatalf("got %.500v, want %.500v", got, data)
	}
}

// wantAny is want in any order.
func (in *inbox) wantAny(data ...string) {
	in.t.Helper()
	eventually(in.t, func() bool { return len(in.data()) >= len(data) }, func() string { return fmt.Sprintf("got %.300v, want %.300v", in.data(), data) })
	got := in.data()
	slices.Sort(got)
	slices.Sort(data)
	if !slices.Equal(got, data) {
		in.t.Fatalf("got %.500v, want %.500v", got, data)
	}
}

func eventually(t *testing.T, ok func() bool, what func() string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what())
}

// live makes sure that a subscription from now on has begun: it publishes
// records of another type until one arrives.
func live(t *testing.T, e event.Event, in *inbox, typ string) {
	t.Helper()
	eventually(t, func() bool {
		publish(t, e, typ, "probe")
		return len(in.data()) > 0
	}, func() string { return "a subscription from now on begins" })
	// Those that are still underway must not be taken for others.
	last := publish(t, e, typ, "last probe")[0]
	eventually(t, func() bool {
		got := in.deliveries()
		return got[len(got)-1].Sequence == last.Sequence
	}, func() string { return "the last probe arrives" })
	in.mu.Lock()
	in.got = nil
	in.mu.Unlock()
}

var errTold = errors.New("told to fail")
