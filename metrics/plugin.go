// This file, with Store and Series, holds what plugins are made of. Those who
// count and measure need none of it.

package metrics

import (
	"context"
	"log/slog"
	"sync"
)

// DefaultOptions returns what holds when no option is given. Collectors is
// empty: each plugin has its own default.
func DefaultOptions() Options {
	return Options{
		BatchInterval: DefaultBatchInterval,
		Namespace:     DefaultNamespace,
		MaxSeries:     defaultMaxSeries,
		Samples:       defaultSamples,
		Buckets:       defaultBuckets(),
		Context:       context.Background(),
	}
}

// Apply returns o with opts applied, or the error of the first bad one.
// Plugins use it in their constructor and in Init.
func (o Options) Apply(opts ...Option) (Options, error) {
	o.err = nil
	for _, opt := range opts {
		opt(&o)
	}
	return o, o.err
}

// Log returns the logger to use.
func (o Options) Log() *slog.Logger {
	if o.Logger != nil {
		return o.Logger
	}
	return slog.Default()
}

// Plugin is what all plugins have in common: a Store, the options, and the
// states of Start and Stop. A plugin embeds it, calls Setup with Config set, sets
// Begin and End where it needs them, and adds String.
type Plugin struct {
	*Store
	// Config makes the store's configuration of the options.
	Config func(Options) StoreConfig
	// Begin, if set, is called by the first Start. An error lets Start be tried
	// again.
	Begin func(Options) error
	// End, if set, is called by the first Stop, also if there was no Start.
	End func() error

	mu               sync.Mutex
	opts             Options
	bad              error
	started, stopped bool
	err              error // of End
}

// Setup applies the options of a constructor. Config must be set.
func (p *Plugin) Setup(defaults Options, opts ...Option) {
	p.opts, p.bad = defaults.Apply(opts...)
	p.Store = NewStore(p.Config(p.opts))
}

// Options returns the options that hold.
func (p *Plugin) Options() Options {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opts
}

// Dropped returns 0: plugins that can lose something have their own.
func (p *Plugin) Dropped() uint64 { return 0 }

// Init implements Metrics.
func (p *Plugin) Init(opts ...Option) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.started || p.stopped {
		return ErrStarted
	}
	o, err := p.opts.Apply(opts...)
	if err == nil {
		err = p.Configure(p.Config(o))
	}
	if err == nil {
		p.opts = o
	}
	return err
}

// Start implements Metrics.
func (p *Plugin) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.bad != nil:
		return p.bad
	case p.stopped:
		return ErrStopped
	case p.started:
		return nil
	}
	if p.Begin != nil {
		if err := p.Begin(p.opts); err != nil {
			return err
		}
	}
	p.started = true
	return nil
}

// Stop implements Metrics. Others that stop meanwhile wait for the first.
func (p *Plugin) Stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return p.err
	}
	p.stopped = true
	if p.End != nil {
		p.err = p.End()
	}
	return p.err
}
