// This file holds what plugins are made of. Those who use one need none of it.

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

// NewOptions returns the defaults with opts applied.
func NewOptions(opts ...Option) Options {
	o := Options{Timeout: 5 * time.Second, Queue: 10_000, Stream: "micro-event"}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// Plugin is an Event on a Driver: it makes records complete, queues, traces,
// hands records to handlers and reconnects.
type Plugin struct {
	name    string
	options Options
	driver  plugin.Driver
	queue   *batch.Queue[*queued]
	skipped loss.Counter

	life     context.Context // ends with Stop
	end      context.CancelFunc
	mu       sync.Mutex
	started  bool
	stopped  bool
	stop     func() error
	handlers sync.WaitGroup
}

// NewPlugin returns a plugin of the name. It does no I/O before Start.
func NewPlugin(name string, driver plugin.Driver, o Options) *Plugin {
	p := &Plugin{name: name, options: o, driver: driver}
	p.life, p.end = context.WithCancel(context.Background())
	p.queue = batch.New(batch.Config[*queued]{
		Name:     "records",
		Size:     maxBatch,
		Load:     maxBatchBytes,
		Interval: time.Second,
		Capacity: max(o.Queue, 1),
		Limit:    maxQueueBytes,
		Timeout:  o.Timeout,
		Logger:   o.Logger,
		Send:     p.send,
		Lost:     lost,
		Eager:    true,
		Weigh:    func(q *queued) int { return q.size },
	})
	p.stop = sync.OnceValue(p.shutdown)
	return p
}

// Start implements Event.
func (p *Plugin) Start() error {
	if err := p.options.validate(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return ErrStopped
	}
	if p.started {
		return nil
	}
	if err := p.driver.Start(); err != nil {
		return fmt.Errorf("event: start %s: %w", p.name, err)
	}
	p.started = true
	return p.queue.Start()
}

// Stop implements Event.
func (p *Plugin) Stop() error { return p.stop() }

func (p *Plugin) shutdown() error {
	p.mu.Lock()
	p.stopped = true
	started := p.started
	p.mu.Unlock()
	p.end()
	done := make(chan struct{})
	go func() { p.handlers.Wait(); close(done) }()
	timer := time.NewTimer(lifecycle.FlushTimeout)
	defer timer.Stop()
	err := p.queue.Stop() // meanwhile
	select {
	case <-done:
	case <-timer.C:
		err = errors.Join(err, errors.New("event: handlers did not end in time"))
	}
	if started {
		err = errors.Join(err, p.driver.Stop())
	}
	return err
}

// enter counts a call in, unless the plugin does not run.
func (p *Plugin) enter() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.started || p.stopped {
		return fmt.Errorf("event: %w", ErrStopped)
	}
	p.handlers.Add(1)
	return nil
}

// String implements Event.
func (p *Plugin) String() string { return p.name }

// Dropped implements Event.
func (p *Plugin) Dropped() uint64 { return p.skipped.Total() + p.queue.Dropped() }

func (p *Plugin) logger() *slog.Logger {
	if p.options.Logger != nil {
		return p.options.Logger
	}
	return slog.Default()
}
