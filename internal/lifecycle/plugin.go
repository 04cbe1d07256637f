package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/micro/go-platform/internal/clean"
)

// ErrLost is matched by what a Stop returns when something that it was to
// deliver or to hand over is lost.
var ErrLost = errors.New("lost")

// Lost returns the ErrLost of a Stop, such as "trace: lost 3 spans: no answer in
// 2s". It returns nil when n is 0.
func Lost(pkg string, n int, item, why string) error {
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%s: %w %s: %s", pkg, ErrLost, clean.Count(n, item), why)
}

// Split separates the ErrLosts from the other errors of several joined Stops: a
// service that stops warns of the former and fails by the latter.
func Split(err error) (lost, other error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || slices.Contains(joined.Unwrap(), ErrLost) {
		if errors.Is(err, ErrLost) {
			return err, nil
		}
		return nil, err
	}
	for _, e := range joined.Unwrap() {
		l, o := Split(e)
		lost, other = errors.Join(lost, l), errors.Join(other, o)
	}
	return lost, other
}

// Hooks are what is particular in the life of a plugin. Each may be nil.
type Hooks struct {
	// Check judges the options. It is asked by each Start until one succeeds.
	Check func() error
	// Open takes what the plugin needs and starts its loops. Its context ends
	// when Stop begins, which waits for it. After an error the next Start, or the
	// next call, tries again: Open gives back what it took.
	Open func(ctx context.Context) error
	// Close gives back what a successful Open took, within FlushTimeout or so, and
	// returns an ErrLost for what could not be delivered.
	Close func() error
}

const (
	fresh int32 = iota
	started
	stopped
)

// Plugin is the life of a plugin: it is new, then started, then stopped, and
// never goes back. Embed it for Start and Stop, and begin each call with Use.
type Plugin struct {
	pkg    string
	hooks  Hooks
	state  atomic.Int32
	life   context.Context
	cancel context.CancelFunc

	mu     sync.Mutex // held while it opens or closes
	opened bool
}

// NewPlugin returns the life of a new plugin of the feature pkg, which begins
// its errors.
func NewPlugin(pkg string, h Hooks) *Plugin {
	p := &Plugin{pkg: pkg, hooks: h}
	p.life, p.cancel = context.WithCancel(context.Background())
	return p
}

// Start opens the plugin unless it is open. After Stop it returns an ErrStopped.
func (p *Plugin) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.Load() == stopped {
		return fmt.Errorf("%s: %w: what was stopped does not start again, make a new one", p.pkg, ErrStopped)
	}
	if p.opened {
		return nil
	}
	if p.hooks.Check != nil {
		if err := p.hooks.Check(); err != nil {
			return err
		}
	}
	if p.hooks.Open != nil {
		if err := p.hooks.Open(p.life); err != nil {
			if p.life.Err() != nil {
				return p.refuse()
			}
			return err
		}
	}
	p.opened = true
	if !p.state.CompareAndSwap(fresh, started) {
		return p.refuse() // Stop waits for the lock, and closes
	}
	return nil
}

// Stop ends the context of Open, waits for Open and closes what it opened. A
// second Stop waits for the first and returns nil: what was lost is told once.
func (p *Plugin) Stop() error {
	p.cancel()
	p.state.Store(stopped)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.opened {
		return nil
	}
	p.opened = false
	if p.hooks.Close == nil {
		return nil
	}
	return p.hooks.Close()
}

// Use is what a call begins with: it starts a new plugin, for as long as ctx
// waits, and returns an ErrStopped after Stop. On a started one it costs an
// atomic load.
func (p *Plugin) Use(ctx context.Context) error {
	if p.state.Load() == started {
		return nil
	}
	return p.use(ctx)
}

func (p *Plugin) use(ctx context.Context) error {
	if p.state.Load() == stopped {
		return p.refuse()
	}
	if ctx.Done() == nil {
		return p.begin()
	}
	begun := make(chan error, 1)
	go func() { begun <- p.begin() }()
	select {
	case err := <-begun:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin is Start for a call, which is not interested in how to start again.
func (p *Plugin) begin() error {
	err := p.Start()
	if errors.Is(err, ErrStopped) {
		return p.refuse()
	}
	return err
}

func (p *Plugin) refuse() error { return fmt.Errorf("%s: %w", p.pkg, ErrStopped) }

// Before calls do unless the plugin was started or stopped, and reports whether it
// did. No Start goes on meanwhile. A plugin changes its options in do, which must not
// call Start, Stop or Use.
func (p *Plugin) Before(do func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.Load() != fresh || p.opened {
		return false
	}
	do()
	return true
}

// Running reports whether the plugin was started and not stopped.
func (p *Plugin) Running() bool { return p.state.Load() == started }

// Life ends when Stop begins.
func (p *Plugin) Life() context.Context { return p.life }
