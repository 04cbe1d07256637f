package config

import (
	"context"
	"errors"
	"fmt"

	"github.com/micro/go-platform/internal/clean"
)

// maxFailure bounds the text of a panic, in bytes.
const maxFailure = 1 << 10

// guarded calls a source under recover: it is a user's code in our goroutines. Its
// errors are such that their methods can be called.
type guarded struct {
	source Source
	name   string // of the source
}

func guard(s Source) guarded { return guarded{s, nameOf(s)} }

func nameOf(s Source) (name string) {
	defer func() {
		if recover() != nil {
			name = fmt.Sprintf("a source of type %T, whose String panics", s)
		}
	}()
	return s.String()
}

// caught makes a panic of a user's code, or an error that panics, one that can be
// read.
func caught(what string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %s panicked: %s", ErrUnavailable, what, clean.Value(p, maxFailure))
		return
	}
	*err = readable(*err)
}

// readable returns err, or one with a text in the place of an error whose methods
// panic, such as a nil pointer.
func readable(err error) (safe error) {
	if err == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			safe = fmt.Errorf("%w: %s", ErrUnavailable, clean.Error(err, maxFailure))
		}
	}()
	_ = err.Error() // it panics or it does not
	_ = errors.Is(err, ErrNotFound)
	return err
}

// read is ReadContext where the source has it, else Read.
func (g guarded) read(ctx context.Context) (cs *ChangeSet, err error) {
	defer caught("Read of the source", &err)
	if s, ok := g.source.(ContextSource); ok {
		return s.ReadContext(ctx)
	}
	return g.source.Read()
}

// watch is WatchContext where the source has it, else Watch.
func (g guarded) watch(ctx context.Context) (w SourceWatcher, err error) {
	defer caught("Watch of the source", &err)
	if s, ok := g.source.(ContextSource); ok {
		w, err = s.WatchContext(ctx)
	} else {
		w, err = g.source.Watch()
	}
	if err == nil && w == nil {
		return nil, fmt.Errorf("%w: Watch of the source returned nothing", ErrUnavailable)
	}
	return guardedWatcher{w}, err
}

type guardedWatcher struct{ SourceWatcher }

// Next implements SourceWatcher.
func (g guardedWatcher) Next() (cs *ChangeSet, err error) {
	defer caught("Next of the source's watcher", &err)
	return g.SourceWatcher.Next()
}

// Stop implements SourceWatcher.
func (g guardedWatcher) Stop() (err error) {
	defer caught("Stop of the source's watcher", &err)
	return g.SourceWatcher.Stop()
}

// parsed is what the reader, which may be a user's, makes of the change sets.
func parsed(r Reader, all ...*ChangeSet) (cs *ChangeSet, err error) {
	defer caught("Parse of the reader", &err)
	cs, err = r.Parse(all...)
	if err == nil && cs == nil {
		return nil, fmt.Errorf("%w: the reader returned nothing", ErrInvalid)
	}
	return cs, err
}

// writesJSON reports whether the reader says so.
func writesJSON(r Reader) (yes bool) {
	defer func() {
		if recover() != nil {
			yes = false
		}
	}()
	return r.String() == "json"
}
