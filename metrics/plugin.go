package metrics

import (
	"sync"
)

// Plugin is what all plugins have in common, for those who write one: a Store, the options, and the states of Start and Stop. Embed it,
// set Begin and End, and add String.
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
