package event_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micro/go-platform/event"
	pb "github.com/micro/go-platform/event/proto"
)

// away is a log that cannot be reached. It notes when somebody tried.
type away struct {
	event.Driver
	mu    sync.Mutex
	tries map[string][]time.Time // by subscription
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
	return nil, event.ErrUnavailable
}

func (a *away) Follow(_ context.Context, _ event.Position, types []string, _ func(*event.Page) error) error {
	return a.try(types[0])
}

func (a *away) Join(_ context.Context, m event.Membership) (event.Session, error) {
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
