// This file, with Store and Series, is for authors of plugins; users of metrics need
// nothing of it.

package metrics

import (
	"context"
	"errors"
	"fmt"
	"sync"

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
	// Start, or the first update of another series, tries again.
	Begin func(Options) error
	// End, if set, is called by the first Stop if Begin had succeeded; updates are
	// dropped from then on. It returns an ErrLost for what could not be delivered.
	End func() error

	mu    sync.Mutex
	opts  Options
	mourn sync.Once // logs that an update could not start the plugin
}

// Setup applies the options of a constructor. Config must be set.
func (p *Plugin) Setup(opts ...Option) {
	p.opts = NewOptions(opts...)
	p.life = lifecycle.NewPlugin("metrics", lifecycle.Hooks{Check: p.check, Open: p.open, Close: p.close})
	p.Store = NewStore(p.Config(p.opts))
	p.Store.use = p.use
}

func (p *Plugin) check() error { return p.Options().Validate() }

func (p *Plugin) open(context.Context) error {
	if p.Begin == nil {
		return nil
	}
	return p.Begin(p.Options())
}

func (p *Plugin) close() error {
	p.shut()
	if p.End == nil {
		return nil
	}
	return p.End()
}

// use starts the plugin before the first update of a series, and reports whether
// updates are taken. Updates are kept while the plugin cannot start.
func (p *Plugin) use() bool {
	err := p.Use(context.Background())
	if err != nil && !errors.Is(err, ErrStopped) {
		p.mourn.Do(func() { p.Options().Logger.Warn("metrics are not sent", "error", err) })
		return true
	}
	return err == nil
}

// Options returns the options that hold.
func (p *Plugin) Options() Options {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opts
}

// Init implements Metrics.
func (p *Plugin) Init(opts ...Option) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.Life().Err() != nil:
		return fmt.Errorf("metrics: %w", ErrStopped)
	case p.Running():
		return ErrStarted
	}
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
