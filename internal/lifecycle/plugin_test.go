package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
)

// counted is a plugin that counts its hooks.
type counted struct {
	checks, opens, closes atomic.Int32
	invalid, broken       error
	*lifecycle.Plugin
}

func newCounted() *counted {
	c := &counted{}
	c.Plugin = lifecycle.NewPlugin("kv", lifecycle.Hooks{
		Check: func() error { c.checks.Add(1); return c.invalid },
		Open:  func(context.Context) error { c.opens.Add(1); return c.broken },
		Close: func() error { c.closes.Add(1); return lifecycle.Lost("kv", 2, "item", "nobody took them") },
	})
	return c
}

func TestPluginOpensOnce(t *testing.T) {
	c := newCounted()
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() {
			if err := c.Use(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if n := c.opens.Load(); n != 1 {
		t.Errorf("opened %d times", n)
	}
	err := c.Stop()
	if !errors.Is(err, lifecycle.ErrLost) || err.Error() != "kv: lost 2 items: nobody took them" {
		t.Errorf("Stop: %v", err)
	}
	if err := c.Stop(); err != nil {
		t.Errorf("the second Stop: %v", err)
	}
	if n := c.closes.Load(); n != 1 {
		t.Errorf("closed %d times", n)
	}
	if err := c.Use(t.Context()); !errors.Is(err, lifecycle.ErrStopped) || err.Error() != "kv: stopped" {
		t.Errorf("a call after Stop: %v", err)
	}
}

func TestPluginTriesAgainAfterAnError(t *testing.T) {
	c := newCounted()
	c.invalid = errors.New("bad")
	for range 2 {
		if err := c.Start(); !errors.Is(err, c.invalid) {
			t.Errorf("Start: %v", err)
		}
	}
	c.invalid, c.broken = nil, errors.New("away")
	if err := c.Use(t.Context()); !errors.Is(err, c.broken) {
		t.Errorf("a call: %v", err)
	}
	c.broken = nil
	if err := c.Use(t.Context()); err != nil || c.opens.Load() != 2 {
		t.Errorf("a later call: %v, opened %d times", err, c.opens.Load())
	}
	_ = c.Stop() // the loss is at issue above
	if c.closes.Load() != 1 {
		t.Error("not closed")
	}
}

func TestStopEndsASlowOpen(t *testing.T) {
	entered := make(chan struct{})
	p := lifecycle.NewPlugin("kv", lifecycle.Hooks{
		Open:  func(ctx context.Context) error { close(entered); <-ctx.Done(); return ctx.Err() },
		Close: func() error { t.Error("closed what was not open"); return nil },
	})
	started := make(chan error, 1)
	go func() { started <- p.Start() }()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := p.Use(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call that does not wait: %v", err)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if err := <-started; !errors.Is(err, lifecycle.ErrStopped) {
		t.Errorf("Start: %v", err)
	}
}

func TestStopClosesWhatOpenedMeanwhile(t *testing.T) {
	entered, closed := make(chan struct{}), false
	p := lifecycle.NewPlugin("kv", lifecycle.Hooks{
		Open:  func(ctx context.Context) error { close(entered); <-ctx.Done(); return nil },
		Close: func() error { closed = true; return nil },
	})
	started := make(chan error, 1)
	go func() { started <- p.Start() }()
	<-entered
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if err := <-started; !errors.Is(err, lifecycle.ErrStopped) || !closed {
		t.Errorf("Start: %v, closed: %t", err, closed)
	}
}

func TestSplit(t *testing.T) {
	spans, broken := lifecycle.Lost("trace", 2, "span", "no answer"), errors.New("broken")
	for _, c := range []struct{ err, lost, other error }{
		{nil, nil, nil},
		{spans, spans, nil},
		{broken, nil, broken},
		{fmt.Errorf("stop: %w", spans), spans, nil},
		{fmt.Errorf("%w 1 span: %w", lifecycle.ErrLost, broken), lifecycle.ErrLost, nil},
		{errors.Join(nil, spans, errors.Join(broken, spans)), spans, broken},
	} {
		lost, other := lifecycle.Split(c.err)
		if !errors.Is(lost, c.lost) || !errors.Is(other, c.other) || (lost == nil) != (c.lost == nil) || (other == nil) != (c.other == nil) {
			t.Errorf("%v: lost %v, other %v", c.err, lost, other)
		}
		if errors.Is(other, lifecycle.ErrLost) {
			t.Errorf("%v: other is %v", c.err, other)
		}
	}
}
