package config

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micro/go-platform/config/internal/conftree"
	"github.com/micro/go-platform/internal/lifecycle"
)

// maxOverlay bounds the paths that Set and Del remember.
const maxOverlay = 4096

// NewConfig returns a Config. Errors of options come from Start.
func NewConfig(opts ...Option) Config { return newPlatform(opts) }

// state is one immutable moment of a config.
type state struct {
	root    *node
	layers  []layerTree
	overlay []op
	changed chan struct{} // closed when another state took over
}

type platform struct {
	opts  Options
	group lifecycle.Group
	now   atomic.Pointer[state]
	dirty chan struct{} // the snapshot file is behind
	ended chan struct{} // closed by Stop
	stop  func() error

	mu       sync.Mutex // of writers; the rest is theirs
	restored bool
	layers   []*layer
	merged   conftree.Tree // of all sources
	overlay  []op
}

func newPlatform(opts []Option) *platform {
	p := &platform{
		opts:   newOptions(opts),
		dirty:  make(chan struct{}, 1),
		ended:  make(chan struct{}),
		merged: conftree.Tree{},
	}
	p.now.Store(&state{root: grow(nil, conftree.Tree{}, nil), changed: make(chan struct{})})
	for i, s := range p.opts.Sources {
		if s == nil {
			continue // Start will say so
		}
		p.layers = append(p.layers, newLayer(p, s, !p.opts.Optional[i]))
	}
	p.stop = sync.OnceValue(p.shutdown)
	return p
}

// String implements Config.
func (p *platform) String() string { return "platform" }

// Options implements Config.
func (p *platform) Options() Options {
	o := p.opts
	o.Sources = append([]Source(nil), o.Sources...)
	o.Optional = append([]bool(nil), o.Optional...)
	return o
}

// Get implements Values.
func (p *platform) Get(path ...string) Value { return p.now.Load().root.get(path) }

// Bytes implements Values.
func (p *platform) Bytes() []byte { return p.now.Load().root.Bytes() }

// Snapshot implements Config.
func (p *platform) Snapshot() Values { return newValues(p.now.Load().root) }

// Start implements Config.
func (p *platform) Start() error {
	if err := p.opts.validate(); err != nil {
		return err
	}
	p.restore()
	loops := []func(context.Context){p.keepSnapshot}
	for _, l := range p.layers {
		loops = append(loops, l.poll, l.follow)
	}
	if err := p.group.Start(loops...); err != nil {
		return fmt.Errorf("start config: %w", err)
	}
	p.await()
	return p.required()
}

// await waits until each source has answered once.
func (p *platform) await() {
	timer := time.NewTimer(p.opts.StartTimeout)
	defer timer.Stop()
	for _, l := range p.layers {
		select {
		case <-l.asked:
		case <-p.ended:
			return
		case <-timer.C:
			return
		}
	}
}

// required names the required sources without values.
func (p *platform) required() error {
	var errs []error
	for _, s := range p.Status() {
		if s.Required && !s.Loaded {
			err := s.Err
			if err == nil {
				err = fmt.Errorf("no answer within %v", p.opts.StartTimeout)
			}
			errs = append(errs, fmt.Errorf("%w: %s: %w", ErrRequired, s.Source, err))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("start config: %w", errors.Join(errs...))
	}
	return nil
}

// Stop implements Config.
func (p *platform) Stop() error { return p.stop() }

func (p *platform) shutdown() error {
	close(p.ended)
	if err := p.group.Stop(lifecycle.FlushTimeout); err != nil {
		return fmt.Errorf("stop config: a source does not end: %w", err)
	}
	return nil
}

// Status implements Config.
func (p *platform) Status() []SourceStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]SourceStatus, len(p.layers))
	for i, l := range p.layers {
		all[i] = l.status()
	}
	return all
}

// Set implements Values.
func (p *platform) Set(val any, path ...string) {
	o, err := newSet(val, path)
	if err != nil {
		p.opts.Logger.Warn("cannot set a value", "error", err)
		return
	}
	p.change(o)
}

// Del implements Values.
func (p *platform) Del(path ...string) { p.change(newDel(path)) }

func (p *platform) change(o op) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := make([]op, 0, len(p.overlay)+1)
	for _, old := range p.overlay {
		if !o.covers(old) {
			kept = append(kept, old)
		}
	}
	if len(kept) >= maxOverlay {
		p.opts.Logger.Warn("cannot set a value", "error", "too many paths are set already", "limit", maxOverlay)
		return
	}
	p.overlay = append(kept, o)
	now := p.now.Load()
	p.publish(o.apply(now.root.value.(conftree.Tree)))
}

// merge makes one tree of what all sources said. The caller holds p.mu.
func (p *platform) merge() error {
	var all []*ChangeSet
	for _, l := range p.layers {
		if l.last != nil {
			all = append(all, l.last)
		}
	}
	merged, err := p.opts.Reader.Parse(all...)
	if err != nil {
		return err
	}
	tree, err := conftree.Decode(merged.Format, merged.Data)
	if err != nil {
		return fmt.Errorf("what reader %s merged: %w", p.opts.Reader, err)
	}
	p.merged = tree
	for _, o := range p.overlay {
		tree = o.apply(tree)
	}
	p.publish(tree)
	return nil
}

// publish makes tree what everybody reads. The caller holds p.mu.
func (p *platform) publish(tree conftree.Tree) {
	old := p.now.Load()
	s := &state{root: grow(old.root, tree, nil), overlay: p.overlay, changed: make(chan struct{})}
	for _, l := range p.layers {
		if l.tree != nil {
			s.layers = append(s.layers, layerTree{l.source.String(), l.tree})
		}
	}
	p.now.Store(s)
	close(old.changed)
}
