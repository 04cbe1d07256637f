package config

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Follow calls f with the value at a path as it is, and again after each change,
// until ctx ends or c stops. It returns nil then; f runs in the goroutine of the
// caller.
//
//	go config.Follow(ctx, c, func(v config.Value) { l.SetLevel(level(v.String("info"))) }, "log", "level")
func Follow(ctx context.Context, c Config, f func(Value), path ...string) error {
	w, err := c.Watch(path...)
	if err != nil {
		return err
	}
	end := func() { _ = w.Stop() } // it only ends Next
	defer end()
	defer context.AfterFunc(ctx, end)()
	for v := c.Get(path...); ctx.Err() == nil; {
		f(v)
		if v, err = w.Next(); err != nil {
			break
		}
	}
	if errors.Is(err, ErrStopped) || ctx.Err() != nil {
		return nil
	}
	return err
}

// Watch implements Config.
func (p *platform) Watch(path ...string) (Watcher, error) {
	if len(path) > MaxDepth {
		return nil, fmt.Errorf("config: watch: %w: path of more than %d elements", ErrInvalid, MaxDepth)
	}
	p.begin()
	if p.Life().Err() != nil {
		return nil, fmt.Errorf("config: watch: %w", ErrStopped)
	}
	w := &watcher{config: p, path: slices.Clone(path), stopped: make(chan struct{})}
	w.last = p.now.Load().root.get(path)
	w.end = sync.OnceFunc(func() { close(w.stopped) })
	return w, nil
}

type watcher struct {
	config  *platform
	path    []string
	last    *node
	stopped chan struct{}
	end     func()
}

// Next implements Watcher.
func (w *watcher) Next() (Value, error) {
	for {
		now := w.config.now.Load()
		select {
		case <-w.stopped:
			return nil, fmt.Errorf("config: watcher: %w", ErrStopped)
		default:
		}
		if v := now.root.get(w.path); v != w.last {
			w.last = v
			return v, nil
		}
		select {
		case <-now.changed:
		case <-w.stopped:
		case <-w.config.Life().Done():
			return nil, fmt.Errorf("config: watcher: %w", ErrStopped)
		}
	}
}

// Stop implements Watcher.
func (w *watcher) Stop() error {
	w.end()
	return nil
}
