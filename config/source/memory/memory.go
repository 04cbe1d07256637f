// Package memory is a source whose values the program itself provides: for
// tests, and for defaults below the other sources.
package memory

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/micro/go-platform/config"
)

type dataKey struct{}

// Data is what the source says, JSON unless config.SourceFormat names another
// format. Without it the source says {}.
func Data(data []byte) config.SourceOption {
	data = slices.Clone(data)
	return func(o *config.SourceOptions) { o.Context = context.WithValue(o.Context, dataKey{}, data) }
}

// Source is a source in memory. Its methods are safe for concurrent use.
type Source struct {
	name, format string

	mu      sync.Mutex
	data    []byte
	err     error
	changed chan struct{} // closed by the next change
}

// NewSource returns a source that says Data. SourceName tells several apart.
func NewSource(opts ...config.SourceOption) *Source {
	o := config.NewSourceOptions(opts...)
	s := &Source{name: "memory", format: o.Format, data: []byte("{}"), changed: make(chan struct{})}
	if o.Name != "" {
		s.name += ":" + o.Name
	}
	if data, ok := o.Context.Value(dataKey{}).([]byte); ok {
		s.data = data
	}
	return s
}

// Update replaces the data; watchers hear of it.
func (s *Source) Update(data []byte) { s.change(slices.Clone(data), nil) }

// Fail makes Read and Next return err until the next Update.
func (s *Source) Fail(err error) { s.change(nil, err) }

func (s *Source) change(data []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data, s.err = data, err
	close(s.changed)
	s.changed = make(chan struct{})
}

// String implements config.Source.
func (s *Source) String() string { return s.name }

// Read implements config.Source.
func (s *Source) Read() (*config.ChangeSet, error) {
	cs, _, err := s.read()
	return cs, err
}

func (s *Source) read() (*config.ChangeSet, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.changed, fmt.Errorf("config: read %s: %w", s.name, s.err)
	}
	return config.NewChangeSet(s.name, s.format, slices.Clone(s.data)), s.changed, nil
}

// Watch implements config.Source.
func (s *Source) Watch() (config.SourceWatcher, error) {
	w := &watcher{source: s, stopped: make(chan struct{})}
	w.end = sync.OnceFunc(func() { close(w.stopped) })
	_, w.changed, _ = s.read() // only when it changes next
	return w, nil
}

type watcher struct {
	source  *Source
	changed <-chan struct{}
	stopped chan struct{}
	end     func()
}

// Next implements config.SourceWatcher.
func (w *watcher) Next() (cs *config.ChangeSet, err error) {
	select {
	case <-w.stopped:
		return nil, fmt.Errorf("config: watch %s: %w", w.source, config.ErrStopped)
	case <-w.changed:
	}
	cs, w.changed, err = w.source.read()
	return cs, err
}

// Stop implements config.SourceWatcher.
func (w *watcher) Stop() error {
	w.end()
	return nil
}
