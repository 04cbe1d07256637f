package configtest

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/source/memory"
)

// hostile is a source whose methods do something else while it is ill.
type hostile struct {
	*memory.Source
	ill         atomic.Bool
	read, watch func() error // nil: the source's own
	next, stop  func() error
	name        func() string
}

func (h *hostile) does(f func() error) error {
	if f != nil && h.ill.Load() {
		return f()
	}
	return nil
}

func (h *hostile) Read() (*config.ChangeSet, error) {
	if err := h.does(h.read); err != nil {
		return nil, err
	}
	return h.Source.Read()
}

func (h *hostile) Watch() (config.SourceWatcher, error) {
	if err := h.does(h.watch); err != nil {
		return nil, err
	}
	w, err := h.Source.Watch()
	return hostileWatcher{w, h}, err
}

func (h *hostile) String() string {
	if h.name != nil {
		return h.name()
	}
	return h.Source.String()
}

type hostileWatcher struct {
	config.SourceWatcher
	source *hostile
}

func (w hostileWatcher) Next() (*config.ChangeSet, error) {
	if err := w.source.does(w.source.next); err != nil {
		return nil, err
	}
	return w.SourceWatcher.Next()
}

func (w hostileWatcher) Stop() error {
	return errors.Join(w.SourceWatcher.Stop(), w.source.does(w.source.stop))
}

// broken is an error whose methods panic when it is nil.
type broken struct{ text string }

func (b *broken) Error() string { return b.text }
func (b *broken) Unwrap() error { return errors.New(b.text) }

// testHostile: a source that panics, wherever it does, is ill. The others are not,
// and it is well again when it no longer does.
func testHostile(t *testing.T, n New) {
	panics := func() error { panic("told to") }
	for name, h := range map[string]*hostile{
		"Read":             {read: panics},
		"Read, nil":        {read: func() error { return (*broken)(nil) }},
		"Watch":            {watch: panics},
		"Watch, nil":       {watch: func() error { return (*broken)(nil) }},
		"Next":             {next: panics},
		"Next, nil":        {next: func() error { return (*broken)(nil) }},
		"Next and Stop":    {next: panics, stop: panics},
		"Read and String":  {read: panics, name: func() string { panic("told to") }},
		"Watch and String": {watch: panics, name: func() string { panic("told to") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h.Source = source("hostile", `{"hostile":1}`)
			h.ill.Store(true)
			good := source("good", `{"good":1}`)
			c := started(t, n, config.WithOptionalSource(h), config.WithSource(good))
			eventually(t, "the hostile source is ill", func() bool {
				s := c.Status()[0]
				err := errors.Join(s.Err, s.WatchErr)
				return err != nil && strings.Contains(err.Error(), "panic")
			})
			good.Update([]byte(`{"good":2}`))
			eventually(t, "the other source is well", func() bool { return c.Get("good").Int(0) == 2 && c.Status()[1].Err == nil })
			h.ill.Store(false)
			h.Update([]byte(`{"hostile":2}`))
			eventually(t, "the hostile source is well again", func() bool {
				s := c.Status()[0]
				return c.Get("hostile").Int(0) == 2 && s.Err == nil && s.WatchErr == nil
			})
		})
	}
	t.Run("Reader", func(t *testing.T) {
		t.Parallel()
		r := &hostileReader{Reader: config.NewReader()}
		s := source("a", `{"a":1}`)
		c := started(t, n, config.WithReader(r), config.WithSource(s))
		for _, what := range []int32{readerPanics, readerSaysNothing} {
			r.does.Store(what)
			s.Update([]byte(`{"a":2}`))
			eventually(t, "the source is ill", func() bool { return c.Status()[0].Err != nil })
			if got := c.Get("a").Int(0); got != 1 {
				t.Errorf("a is %d", got)
			}
			r.does.Store(0)
			s.Update([]byte(`{"a":1}`))
			eventually(t, "the source is well again", func() bool { return c.Status()[0].Err == nil })
		}
	})
}

// hostileReader is a reader that panics or returns nothing.
type hostileReader struct {
	config.Reader
	does atomic.Int32
}

const (
	readerPanics = iota + 1
	readerSaysNothing
)

func (r *hostileReader) String() string { panic("told to") }

func (r *hostileReader) Parse(changes ...*config.ChangeSet) (*config.ChangeSet, error) {
	switch r.does.Load() {
	case readerPanics:
		panic("told to")
	case readerSaysNothing:
		return nil, nil //nolint:nilnil // what a bad reader does
	}
	return r.Reader.Parse(changes...)
}
