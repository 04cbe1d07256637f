package config

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

// life hides the embedded lifecycle.Plugin from the documentation.
type life = lifecycle.Plugin

type platform struct {
	*life
	opts   Options
	group  lifecycle.Group
	now    atomic.Pointer[state]
	dirty  chan struct{} // the snapshot file is behind
	doubts *doubts

	mu       sync.Mutex // of writers; the rest is theirs
	restored bool
	layers   []*layer
	merged   conftree.Tree // of all sources
	overlay  []op
	unusable string // the logged error of a first call that could not start it
}

func newPlatform(opts []Option) *platform {
	p := &platform{opts: NewOptions(opts...), dirty: make(chan struct{}, 1), merged: conftree.Tree{}}
	p.life = lifecycle.NewPlugin("config", lifecycle.Hooks{Check: p.opts.Validate, Open: p.open, Close: p.shut})
	p.doubts = newDoubts(p.opts.Logger)
	p.now.Store(&state{root: grow(nil, conftree.Tree{}, place{doubts: p.doubts}), changed: make(chan struct{})})
	for i, s := range p.opts.Sources {
		if s != nil { // Validate refuses it
			p.layers = append(p.layers, newLayer(p, s, !p.opts.Optional[i]))
		}
	}
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

// read returns the current state. It starts a new config.
func (p *platform) read() *state {
	p.begin()
	return p.now.Load()
}

// begin starts a new config for a call that cannot return an error: it logs the
// error of Start, also that of required sources. After Stop the values stay as they
// are.
func (p *platform) begin() {
	if p.Running() || p.Life().Err() != nil {
		return
	}
	err := p.Start()
	if err == nil || errors.Is(err, ErrStopped) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if text := err.Error(); text != p.unusable {
		p.unusable = text
		p.opts.Logger.Warn("the config that was called does not start well", "error", err)
	}
}

// Get implements Values.
func (p *platform) Get(path ...string) Value { return p.read().root.get(path) }

// Bytes implements Values.
func (p *platform) Bytes() []byte { return p.read().root.Bytes() }

// Snapshot implements Config.
func (p *platform) Snapshot() Values { return newValues(p.read().root) }

// Start implements Config.
func (p *platform) Start() error {
	if err := p.life.Start(); err != nil {
		return err
	}
	return p.required()
}

func (p *platform) open(ctx context.Context) error {
	p.restore()
	loops := []func(context.Context){p.keepSnapshot}
	for _, l := range p.layers {
		loops = append(loops, l.poll, l.follow)
	}
	if err := p.group.Start(loops...); err != nil {
		return err
	}
	p.await(ctx)
	return nil
}

// await waits until each source has answered once.
func (p *platform) await(ctx context.Context) {
	timer := time.NewTimer(p.opts.StartTimeout)
	defer timer.Stop()
	for _, l := range p.layers {
		select {
		case <-l.asked:
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		}
	}
}

// required names the required sources without values.
func (p *platform) required() error {
	var errs []error
	for _, s := range p.status() {
		if !s.Required || s.Loaded {
			continue
		}
		err := s.Err
		if err == nil {
			err = fmt.Errorf("no answer within %v", p.opts.StartTimeout)
		}
		if !strings.Contains(err.Error(), s.Source) {
			err = fmt.Errorf("%s: %w", s.Source, err)
		}
		errs = append(errs, fmt.Errorf("%w: %w", ErrRequired, err))
	}
	if len(errs) > 0 {
		return fmt.Errorf("config: start: %w", errors.Join(errs...))
	}
	return nil
}

func (p *platform) shut() error {
	if err := p.group.Stop(lifecycle.FlushTimeout); err != nil {
		return fmt.Errorf("config: stop: a source does not end: %w", err)
	}
	return nil
}

// Status implements Config.
func (p *platform) Status() []SourceStatus {
	p.begin()
	return p.status()
}

func (p *platform) status() []SourceStatus {
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
	p.begin()
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
	tree, err := p.union()
	if err != nil {
		return err
	}
	p.merged = tree
	for _, o := range p.overlay {
		tree = o.apply(tree)
	}
	p.publish(tree)
	return nil
}

func (p *platform) union() (conftree.Tree, error) {
	var all []*ChangeSet
	tree := conftree.Tree{}
	for _, l := range p.layers {
		if l.last != nil {
			all, tree = append(all, l.last), conftree.Merge(tree, l.tree)
		}
	}
	if _, ours := p.opts.Reader.(jsonReader); ours {
		return tree, nil // JSON forgets how some numbers were written
	}
	merged, err := parsed(p.opts.Reader, all...)
	if err != nil {
		return nil, err
	}
	tree, err = conftree.Decode(merged.Format, merged.Data)
	if err != nil {
		return nil, fmt.Errorf("what reader %s merged: %w", p.opts.Reader, err)
	}
	return tree, nil
}

// publish makes tree what everybody reads. The caller holds p.mu.
func (p *platform) publish(tree conftree.Tree) {
	old := p.now.Load()
	s := &state{root: grow(old.root, tree, place{doubts: p.doubts}), overlay: p.overlay, changed: make(chan struct{})}
	for _, l := range p.layers {
		if l.tree != nil {
			s.layers = append(s.layers, layerTree{l.source.name, l.tree})
		}
	}
	p.now.Store(s)
	close(old.changed)
}
