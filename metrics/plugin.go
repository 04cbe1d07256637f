// This file, with Store and Series, is for authors of plugins; users of metrics need
// nothing of it.

package metrics

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/lifecycle"
)

// life hides the embedded lifecycle.Plugin from the documentation.
type life = lifecycle.Plugin

// Plugin is what all plugins have in common: a Store, the options, Start and Stop.
// A plugin embeds it, sets Config, and Begin and End where it needs them, calls
// Setup, and adds String. Start, or the first update of one of its metrics, starts
// it.
type Plugin struct {
	*Store
	*life
	// Config makes the store's configuration of the options.
	Config func(Options) StoreConfig
	// Begin, if set, is called by Start. It must not block. After an error the next
	// Start, or an update at least a second later, tries again. Updates are kept
	// until then.
	Begin func(Options) error
	// End, if set, is called by the first Stop if Begin had succeeded; updates are
	// dropped from then on. It returns an ErrLost for what could not be delivered.
	End func() error

	mu    sync.Mutex
	opts  Options
	mourn sync.Once // logs that an update could not start the plugin
	begun atomic.Bool
	tried atomic.Int64          // when an update could not start the plugin, unix nanoseconds
	why   atomic.Pointer[error] // why it could not
	stop  sync.Once             // counts what a plugin that never started kept
}

// again is the least time between two updates that try to start the plugin.
const again = time.Second

// Setup applies the options of a constructor. Config must be set.
func (p *Plugin) Setup(opts ...Option) {
	p.opts = NewOptions(opts...)
	p.life = lifecycle.NewPlugin("metrics", lifecycle.Hooks{Check: p.check, Open: p.open, Close: p.close})
	p.Store = NewStore(p.Config(p.opts))
	p.Store.use = p.use
}

func (p *Plugin) check() error { return p.Options().Validate() }

func (p *Plugin) open(context.Context) error {
	if p.Begin != nil {
		if err := p.Begin(p.Options()); err != nil {
			return err
		}
	}
	p.begun.Store(true)
	return nil
}

// Stop implements Metrics. What a plugin that could not start has kept is lost,
// counted and told.
func (p *Plugin) Stop() error {
	err := p.life.Stop()
	p.stop.Do(func() {
		if p.begun.Load() {
			return
		}
		n := p.Pending()
		p.late.Add(n)
		why := "it was never started"
		if failed := p.why.Load(); failed != nil {
			why = "it could not start: " + clean.Error(*failed, 1<<10)
		}
		err = errors.Join(err, lifecycle.Lost("metrics", n, "value", why))
	})
	return err
}

func (p *Plugin) close() error {
	p.shut()
	if p.End == nil {
		return nil
	}
	return p.End()
}

// use starts the plugin before the first update of a series. Updates are kept while
// the plugin cannot start.
func (p *Plugin) use() usage {
	if p.Running() {
		return taken
	}
	now := time.Now().UnixNano()
	if p.Life().Err() == nil && p.why.Load() != nil && now-p.tried.Load() < int64(again) {
		return kept
	}
	err := p.Use(context.Background())
	switch {
	case err == nil:
		return taken
	case errors.Is(err, ErrStopped):
		return refused
	}
	p.tried.Store(now)
	p.why.Store(&err)
	p.mourn.Do(func() { p.Options().Logger.Warn("metrics are not sent", "error", err) })
	return kept
}

// Options returns the options that hold.
func (p *Plugin) Options() Options {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opts
}

// Init implements Metrics.
func (p *Plugin) Init(opts ...Option) (err error) {
	if p.Before(func() { err = p.configure(opts) }) {
		return err
	}
	if p.Life().Err() != nil {
		return fmt.Errorf("metrics: %w", ErrStopped)
	}
	return ErrStarted
}

func (p *Plugin) configure(opts []Option) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.opts.with(opts)
	if err := o.Validate(); err != nil {
		return err
	}
	if err := p.Configure(p.Config(o)); err != nil {
		return err
	}
	p.opts = o
	return nil
}
