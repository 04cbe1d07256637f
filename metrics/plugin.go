// This file, with Store and Series, holds what plugins are made of. Those who
// count and measure need none of it.

package metrics

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/micro/go-platform/internal/lifecycle"
)

// life keeps the state machine of a plugin out of what it exports.
type life = lifecycle.Plugin

// Plugin is what all plugins have in common: a Store, the options, Start and
// Stop. A plugin embeds it, calls Setup with Config set, sets Begin and End where
// it needs them, and adds String. It is started by Start, or by the first update
// of one of its metrics.
type Plugin struct {
	*Store
	*life
	// Config makes the store's configuration of the options.
	Config func(Options) StoreConfig
	// Begin, if set, is called by Start. It must not wait for anybody. After an
	// error the next Start, or update, tries again.
	Begin func(Options) error
	// End, if set, is called by the first Stop after Begin succeeded; updates are
	// dropped from then on. It returns an ErrLost for what could not be delivered.
	End func() error

	mu    sync.Mutex
	opts  Options
	mourn sync.Once // an update that could not start the plugin
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

// use is asked by a series before its first update. What is recorded while the
// plugin cannot start is kept.
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
