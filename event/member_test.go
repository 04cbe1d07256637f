package event_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/internal/eventlog"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
)

func silent() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// line leads to a log. It can be cut, and before that swallow what is said.
type line struct {
	plugin.Driver
	mu     sync.Mutex
	log    *eventlog.Log // nil: away
	mute   bool
	breaks chan struct{}
}

func newLine(l *eventlog.Log) *line { return &line{log: l, breaks: make(chan struct{})} }

func (c *line) Start() error { return nil }
func (c *line) Stop() error  { return nil }

func (c *line) to() *eventlog.Log {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log
}

// swallow has everything said from now on get lost.
func (c *line) swallow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mute = true
}

// lead breaks all connections; new ones lead to the log.
func (c *line) lead(l *eventlog.Log) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.breaks)
	c.log, c.mute, c.breaks = l, false, make(chan struct{})
}

func (c *line) Append(ctx context.Context, all []*pb.Record) ([]*pb.Result, error) {
	return c.to().Create(ctx, all)
}

func (c *line) Join(ctx context.Context, who plugin.Membership) (plugin.Session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.log == nil {
		return nil, event.ErrUnavailable
	}
	m, err := c.log.Join(ctx, who)
	if err != nil {
		return nil, err
	}
	return &call{Member: m, line: c, log: c.log.ID(), broken: c.breaks}, nil
}

type call struct {
	*eventlog.Member
	line   *line
	log    string
	broken <-chan struct{}
}

func (c *call) Log() string { return c.log }
func (c *call) Close()      { c.Detach() }

func (c *call) Recv(ctx context.Context) ([]*pb.Delivery, uint64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-c.broken:
			cancel(event.ErrUnavailable)
		case <-ctx.Done():
		}
	}()
	all, lag, err := c.Next(ctx)
	return all, lag, errors.Join(err, context.Cause(ctx))
}

func (c *call) Settle(_ context.Context, settled []*pb.Settlement, touched []uint64) error {
	c.line.mu.Lock()
	defer c.line.mu.Unlock()
	select {
	case <-c.broken:
		return event.ErrUnavailable
	default:
	}
	if !c.line.mute {
		c.Member.Settle(settled, touched)
	}
	return nil
}

func newLog(t *testing.T) *eventlog.Log {
	t.Helper()
	l, err := eventlog.Open(t.Context(), eventlog.NewMemory(), eventlog.Config{Logger: silent()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Stop() }) // it keeps nothing
	return l
}

// on returns an Event that is started, and stopped with the test.
func on(t *testing.T, d plugin.Driver) event.Event {
	t.Helper()
	e := event.NewPlugin("test", d, event.NewOptions(event.Logger(silent())))
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

func publish(t *testing.T, e event.Event, prefix string, count int) {
	t.Helper()
	for i := range count {
		r := &event.Record{Data: fmt.Sprint(prefix, i), Key: fmt.Sprint("key ", i%7)}
		if err := e.Publish(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

// handled counts how often each record was.
type handled struct {
	mu    sync.Mutex
	times map[string]int
}

func (h *handled) note(d *event.Delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.times == nil {
		h.times = make(map[string]int)
	}
	h.times[d.Data]++
}

// each fails unless every record was handled that often.
func (h *handled) each(t *testing.T, prefix string, count, times int) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range count {
		if n := h.times[fmt.Sprint(prefix, i)]; n != times {
			t.Errorf("record %s%d was handled %d times, want %d", prefix, i, n, times)
		}
	}
}

// A log that was lost while records of it are in a member's hands: those of the
// new one have the same sequences and are handled all the same.
func TestNewLogWhileHandling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newLog(t), newLog(t)
		c := newLine(first)
		e := on(t, c)
		publish(t, e, "old", 5)
		gate := make(chan struct{})
		var got handled
		go func() {
			_ = e.Consume(t.Context(), func(_ context.Context, d *event.Delivery) error {
				<-gate
				got.note(d)
				return nil
			}, event.Durable("d"), event.FromBeginning(), event.Concurrency(2)) // it ends with the test
		}()
		synctest.Wait()
		c.lead(second)
		publish(t, e, "new", 8)
		time.Sleep(10 * time.Second)
		if s := second.Subscriptions("d"); len(s) != 1 || s[0].Unsettled != 8 {
			t.Fatalf("the member has not found the new log, or settled what it did not handle: %v", s)
		}
		close(gate)
		time.Sleep(10 * time.Second)
		got.each(t, "new", 8, 1)
		got.each(t, "old", 2, 1) // those it had begun
		if s := second.Subscriptions("d")[0]; s.Lag != 0 || s.Redelivered != 0 {
			t.Errorf("%v", s)
		}
	})
}

// Connections that break, and swallow what was said before they do, cost no
// record a second handling, and no key its order.
func TestReconnectHandlesNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t)
		c := newLine(l)
		var got handled
		var mu sync.Mutex
		busy := make(map[string]bool)
		mark := func(key string, now bool) {
			mu.Lock()
			defer mu.Unlock()
			if now && busy[key] {
				t.Errorf("two records of %s at once", key)
			}
			busy[key] = now
		}
		for range 2 {
			e := on(t, c)
			go func() {
				_ = e.Consume(t.Context(), func(_ context.Context, d *event.Delivery) error {
					mark(d.Key, true)
					time.Sleep(5 * time.Millisecond)
					mark(d.Key, false)
					got.note(d)
					return nil
				}, event.Durable("d"), event.FromBeginning(), event.Ordered()) // it ends with the test
			}()
		}
		publisher := on(t, newLine(l))
		const rounds, each = 10, 60
		for round := range rounds {
			publish(t, publisher, fmt.Sprint("round ", round, " "), each)
			time.Sleep(50 * time.Millisecond)
			c.swallow()
			time.Sleep(50 * time.Millisecond)
			c.lead(nil)
			time.Sleep(400 * time.Millisecond)
			c.lead(l)
			time.Sleep(5 * time.Second)
		}
		time.Sleep(10 * time.Second)
		for round := range rounds {
			got.each(t, fmt.Sprint("round ", round, " "), each, 1)
		}
		if s := l.Subscriptions("d")[0]; s.Lag != 0 {
			t.Errorf("%v", s)
		}
	})
}
