package event_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
)

// away is a log that cannot be reached. It notes when somebody tried.
type away struct {
	plugin.Driver
	appends atomic.Int64
	mu      sync.Mutex
	tries   map[string][]time.Time // by subscription
}

func (a *away) Start() error { return nil }
func (a *away) Stop() error  { return nil }

func (a *away) try(name string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tries[name] = append(a.tries[name], time.Now())
	return event.ErrUnavailable
}

func (a *away) Append(context.Context, []*pb.Record) ([]*pb.Result, error) {
	a.appends.Add(1)
	return nil, event.ErrUnavailable
}

// picky is a log that refuses a type.
type picky struct{ plugin.Driver }

func (picky) Start() error { return nil }
func (picky) Stop() error  { return nil }

func (picky) Append(_ context.Context, all []*pb.Record) ([]*pb.Result, error) {
	results := make([]*pb.Result, len(all))
	for i, r := range all {
		results[i] = &pb.Result{Sequence: uint64(i) + 1}
		if r.Type == "bad" {
			results[i] = &pb.Result{Error: "bad type"}
		}
	}
	return results, nil
}

// What the log refuses is told to the publisher, counted, and holds up nobody.
func TestRefusedByTheLog(t *testing.T) {
	e := event.NewPlugin("picky", picky{}, event.NewOptions())
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	told := make(map[string]error) // by the one sender
	for _, typ := range []string{"good", "bad", "better"} {
		if err := e.PublishAsync(t.Context(), &event.Record{Type: typ}, func(r *event.Record, err error) { told[r.Type] = err }); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if err := e.Publish(t.Context(), &event.Record{Type: "bad"}); !errors.Is(err, event.ErrInvalid) {
		t.Errorf("Publish: %v", err)
	}
	if err := e.Stop(); err != nil {
		t.Error(err)
	}
	if len(told) != 3 || told["good"] != nil || told["better"] != nil || !errors.Is(told["bad"], event.ErrInvalid) || e.Dropped() != 1 {
		t.Errorf("told %v, %d dropped", told, e.Dropped())
	}
}

// heavy is a log that waits, fails after some appends and counts what came.
type heavy struct {
	picky
	gate  chan struct{}
	left  int
	count int
}

func (h *heavy) Append(ctx context.Context, all []*pb.Record) ([]*pb.Result, error) {
	<-h.gate
	if h.left--; h.left < 0 {
		return nil, event.ErrUnavailable
	}
	h.count += len(all)
	return h.picky.Append(ctx, all)
}

// What Stop says is lost is what did not arrive, also of records too heavy for
// one request.
func TestLossOfHeavyRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &heavy{left: 3, gate: make(chan struct{})}
		e := event.NewPlugin("heavy", h, event.NewOptions(event.Logger(slog.New(slog.NewTextHandler(io.Discard, nil)))))
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
		const count = 20
		done, failed := 0, 0 // by the one sender
		for range count {
			r := &event.Record{Data: strings.Repeat("x", 900<<10)}
			if err := e.PublishAsync(t.Context(), r, func(_ *event.Record, err error) {
				if done++; err != nil {
					failed++
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
		close(h.gate)
		err := e.Stop()
		lost := count - h.count
		if lost == 0 || done != count || failed != lost || e.Dropped() != uint64(lost) || err == nil || !strings.Contains(err.Error(), fmt.Sprint(lost, " records")) {
			t.Errorf("%d of %d arrived, %d were told, %d of them an error, %d dropped, %v", h.count, count, done, failed, e.Dropped(), err)
		}
	})
}

// PublishAsync waits while so many are underway, as long as its context says.
func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &away{tries: make(map[string][]time.Time)}
		e := event.NewPlugin("away", a, event.NewOptions(event.QueueSize(5), event.Logger(slog.New(slog.NewTextHandler(io.Discard, nil)))))
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
		queued := 0
		var err error
		for queued < 100 && err == nil {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if err = e.PublishAsync(ctx, &event.Record{}, nil); err == nil {
				queued++
			}
			cancel()
		}
		if queued < 5 || queued > 10 || !errors.Is(err, context.DeadlineExceeded) { // those of one request count once more
			t.Errorf("%d queued, then %v", queued, err)
		}
		if err := e.Stop(); err == nil || e.Dropped() != uint64(queued)+1 { // and the one that found no room
			t.Errorf("Stop: %v, %d dropped of %d", err, e.Dropped(), queued)
		}
	})
}

func (a *away) Follow(_ context.Context, _ plugin.Position, types []string, _ func(*plugin.Page) error) error {
	return a.try(types[0])
}

func (a *away) Join(_ context.Context, m plugin.Membership) (plugin.Session, error) {
	return nil, a.try(m.Conf.Name)
}

// A thousand subscriptions that lost the log at the same moment do not come
// back at the same moment, and none gives up.
func TestReconnectsAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count = 1000
		a := &away{tries: make(map[string][]time.Time)}
		o := event.NewOptions(event.Logger(slog.New(slog.NewTextHandler(io.Discard, nil))))
		e := event.NewPlugin("away", a, o)
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for i := range count {
			running.Go(func() {
				opts := []event.ConsumeOption{event.Types(fmt.Sprint("type", i))}
				if i%2 == 0 {
					opts = append(opts, event.Durable(fmt.Sprint("name ", i)))
				}
				_ = e.Consume(ctx, func(context.Context, *event.Delivery) error { return nil }, opts...) // ctx's
			})
		}
		const while = time.Minute
		begin := time.Now()
		time.Sleep(while)
		cancel()
		running.Wait()
		if err := e.Stop(); err != nil {
			t.Error(err)
		}
		if len(a.tries) != count {
			t.Fatalf("%d subscriptions tried, want %d", len(a.tries), count)
		}
		perSecond := make(map[time.Duration]int)
		for name, tries := range a.tries {
			if last := begin.Add(while).Sub(tries[len(tries)-1]); last > 5*time.Second {
				t.Errorf("%s gave up %v ago", name, last)
			}
			for _, at := range tries {
				perSecond[at.Sub(begin).Truncate(time.Second)]++
			}
		}
		// Waits are uniform up to 5 s: 400 tries a second, give or take chance.
		for at := 20 * time.Second; at < while; at += time.Second {
			if n := perSecond[at]; n < 200 || n > 600 {
				t.Errorf("%d tries in the second at %v, want about 400", n, at)
			}
		}
	})
}

// Flush of a log that is away waits as other retries do, and ends with Stop.
func TestFlushWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &away{tries: make(map[string][]time.Time)}
		e := event.NewPlugin("away", a, event.NewOptions(event.Logger(slog.New(slog.NewTextHandler(io.Discard, nil)))))
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
		if err := e.PublishAsync(t.Context(), &event.Record{}, nil); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := e.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush of a log that is away: %v", err)
		}
		if n := a.appends.Load(); n < 5 || n > 200 {
			t.Errorf("%d appends in 10 s", n)
		}
		over := make(chan error, 1)
		go func() { over <- e.Flush(context.WithoutCancel(t.Context())) }()
		time.Sleep(time.Second)
		if err := e.Stop(); err == nil || !strings.Contains(err.Error(), "lost 1 record: ") || strings.Contains(err.Error(), "handlers") {
			t.Errorf("Stop: %v", err)
		}
		if err := <-over; !errors.Is(err, event.ErrStopped) {
			t.Errorf("Flush over Stop: %v", err)
		}
	})
}

// What Stop could not send is counted and said within two seconds.
func TestStopIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &away{tries: make(map[string][]time.Time)}
		e := event.NewPlugin("away", a, event.NewOptions(event.Logger(slog.New(slog.NewTextHandler(io.Discard, nil)))))
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
		told := 0
		for range 7 {
			if err := e.PublishAsync(t.Context(), &event.Record{}, func(_ *event.Record, err error) {
				if err != nil {
					told++
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
		begin := time.Now()
		err := e.Stop()
		if err == nil || !strings.Contains(err.Error(), "7") || e.Dropped() != 7 || told != 7 {
			t.Errorf("Stop: %v; %d dropped, %d told", err, e.Dropped(), told)
		}
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("Stop took %v", took)
		}
	})
}
