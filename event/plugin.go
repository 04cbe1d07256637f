// This file is for authors of plugins; users of event need nothing of it.

package event

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/micro/go-platform/event/plugin"
	"github.com/micro/go-platform/internal/batch"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/loss"
)

// life hides the embedded lifecycle.Plugin from the documentation.
type life = lifecycle.Plugin

// Plugin is an Event on a Driver: it makes records complete, queues, traces,
// hands records to handlers and reconnects.
type Plugin struct {
	*life
	name    string
	options Options
	driver  plugin.Driver
	queue   *batch.Queue[*queued]
	skipped loss.Counter

	donePanic sync.Once // the log

	mu       sync.Mutex
	closing  bool
	handlers sync.WaitGroup // calls underway; none begins while it closes
}

// NewPlugin returns a plugin of the name. It does no I/O: the first call starts
// the driver.
func NewPlugin(name string, driver plugin.Driver, o Options) *Plugin {
	p := &Plugin{name: name, options: o, driver: driver}
	p.life = lifecycle.NewPlugin("event", lifecycle.Hooks{Check: o.Validate, Open: p.open, Close: p.shut})
	p.queue = batch.New(batch.Config[*queued]{
		Name:     "records",
		Size:     maxBatch,
		Load:     maxBatchBytes,
		Interval: time.Second,
		Capacity: max(o.QueueSize, 1),
		Limit:    maxQueueBytes,
		Timeout:  o.Timeout,
		Logger:   o.Logger,
		Send:     p.send,
		Lost:     lost,
		Eager:    true,
		Weigh:    func(q *queued) int { return q.size },
	})
	return p
}

func (p *Plugin) open(context.Context) error {
	err := p.driver.Start()
	switch {
	case errors.Is(err, ErrInvalid):
		return err // names an option of the driver's own
	case err != nil:
		return fmt.Errorf("event: start %s: %w", p.name, err)
	}
	return p.queue.Start()
}

// shut flushes the queue and waits for the calls underway, whose contexts have
// ended.
func (p *Plugin) shut() error {
	p.mu.Lock()
	p.closing = true
	p.mu.Unlock()
	done := make(chan struct{})
	go func() { p.handlers.Wait(); close(done) }()
	timer := time.NewTimer(lifecycle.FlushTimeout)
	defer timer.Stop()
	err := p.queue.Stop() // meanwhile
	if err != nil {
		err = fmt.Errorf("event: %w", err)
	}
	select {
	case <-done:
	case <-timer.C:
		err = errors.Join(err, errors.New("event: handlers did not end in time"))
	}
	return errors.Join(err, p.driver.Stop())
}

// enter counts a call that begins, and starts a new plugin. It returns ErrStopped
// after Stop.
func (p *Plugin) enter(ctx context.Context) error {
	if err := p.Use(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return fmt.Errorf("event: %w", ErrStopped)
	}
	p.handlers.Add(1)
	return nil
}

// String implements Event.
func (p *Plugin) String() string { return p.name }

// Dropped implements Event.
func (p *Plugin) Dropped() uint64 { return p.skipped.Total() + p.queue.Dropped() }

func (p *Plugin) logger() *slog.Logger { return p.options.Logger }
