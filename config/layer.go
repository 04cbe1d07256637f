package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/micro/go-platform/config/internal/conftree"
	"github.com/micro/go-platform/internal/backoff"
)

// maxRetry bounds the wait before a source that failed is tried again.
const maxRetry = 2 * time.Second

// secondLook is how long a source that had values must be empty before that is
// believed: a file is empty for a moment while it is rewritten.
const secondLook = time.Second

// errEmptied is returned for an empty answer that is not believed yet.
var errEmptied = errors.New("empty, which was not so before")

// layer is a source and the last good thing it said.
type layer struct {
	config   *platform
	source   guarded
	required bool
	pokes    chan struct{} // read now
	asked    chan struct{} // closed when the first Read is over
	answered func()

	// Of the config's mutex.
	last         *ChangeSet
	tree         conftree.Tree
	fromSnapshot bool
	updated      time.Time
	told         uint64 // messages of watchers
	err          error
	watchErr     error
	emptied      time.Time // when the source was first seen empty; zero if it is not
	skipped      []string
}

func newLayer(p *platform, s Source, required bool) *layer {
	l := &layer{config: p, source: guard(s), required: required, pokes: make(chan struct{}, 1), asked: make(chan struct{})}
	l.answered = sync.OnceFunc(func() { close(l.asked) })
	return l
}

func (l *layer) status() SourceStatus {
	return SourceStatus{
		Source: l.source.name, Required: l.required, Loaded: l.last != nil, FromSnapshot: l.fromSnapshot,
		Updated: l.updated, Err: l.err, WatchErr: l.watchErr,
		Skipped: slices.Clone(l.skipped),
	}
}

// poll reads the source now and then, and sooner after a failure.
func (l *layer) poll(ctx context.Context) {
	wait := backoff.Backoff{Max: maxRetry}
	for {
		err := l.read(ctx)
		l.answered()
		next := l.config.opts.PollInterval
		next -= rand.N(next/10 + 1)
		switch {
		case errors.Is(err, errEmptied):
			next = min(next, secondLook)
		case err == nil:
			wait.Reset()
		default:
			next = min(next, wait.Next())
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-l.pokes:
			timer.Stop()
		case <-timer.C:
		}
	}
}

func (l *layer) read(ctx context.Context) error {
	l.config.mu.Lock()
	told := l.told
	l.config.mu.Unlock()
	cs, err := l.source.read(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	l.config.mu.Lock()
	defer l.config.mu.Unlock()
	if err == nil && told != l.told {
		return nil // a watcher knows better: this may be from before
	}
	return l.take(cs, err)
}

// follow hears of changes for as long as the source can tell of them.
func (l *layer) follow(ctx context.Context) {
	wait := backoff.Backoff{Max: maxRetry}
	for ctx.Err() == nil {
		heard, err := l.hear(ctx)
		if ctx.Err() != nil {
			return
		}
		l.lost(err)
		if heard {
			wait.Reset()
		}
		if wait.Wait(ctx) != nil {
			return
		}
	}
}

// hear listens to one watcher until it fails, and reports whether it said
// anything.
func (l *layer) hear(ctx context.Context) (heard bool, _ error) {
	w, err := l.source.watch(ctx)
	if err != nil {
		return false, err
	}
	end := func() { _ = w.Stop() } // nothing is left to be done about it
	defer end()
	defer context.AfterFunc(ctx, end)()
	l.watching()
	for {
		cs, err := w.Next()
		if err != nil {
			return heard, err
		}
		heard = true
		l.config.mu.Lock()
		l.told++
		err = l.take(cs, nil)
		l.config.mu.Unlock()
		if err != nil {
			l.poke() // it may have been half written: look again
		}
	}
}

// watching is called when changes from now on will be told: what changed before
// must be read.
func (l *layer) watching() {
	l.config.mu.Lock()
	if l.watchErr != nil {
		l.config.opts.Logger.Info("config source tells of changes again", "source", l.source.name)
	}
	l.watchErr = nil
	l.config.mu.Unlock()
	l.poke()
}

func (l *layer) poke() {
	select {
	case l.pokes <- struct{}{}:
	default:
	}
}

// lost notes that changes are not told of, and logs it once.
func (l *layer) lost(err error) {
	l.config.mu.Lock()
	defer l.config.mu.Unlock()
	if l.watchErr == nil && l.err == nil {
		l.config.opts.Logger.Warn("config source does not tell of changes, it is polled", "source", l.source.name, "error", err)
	}
	l.watchErr = err
}

// take makes cs what the source says, unless it cannot be used. The caller holds
// the mutex.
func (l *layer) take(cs *ChangeSet, err error) error {
	if err == nil && cs == nil {
		err = errors.New("the source returned nothing")
	}
	if err == nil {
		err = l.believe(cs)
	}
	if errors.Is(err, errEmptied) {
		return err // neither logged nor in the status before the second look
	}
	if err == nil {
		err = l.use(cs)
	}
	if errors.Is(err, ErrNotFound) && l.fromSnapshot {
		err = l.forget(err)
	}
	was := l.err
	l.err = err
	log := l.config.opts.Logger
	switch {
	case err == nil && was != nil:
		log.Info("config source is well again", "source", l.source.name)
	case err != nil && (was == nil || was.Error() != err.Error()):
		log.Warn("config source failed, its last good values stay", "source", l.source.name, "has_values", l.last != nil, "error", err)
	}
	return err
}

// believe returns errEmptied for an empty answer of a source that had values, until
// the source has been empty for secondLook.
func (l *layer) believe(cs *ChangeSet) error {
	if !empty(cs) || l.last == nil || l.fromSnapshot || empty(l.last) {
		l.emptied = time.Time{}
		return nil
	}
	if l.emptied.IsZero() {
		l.emptied = time.Now()
	}
	if time.Since(l.emptied) < secondLook {
		return errEmptied
	}
	l.config.opts.Logger.Warn("config source is empty now, its values are gone", "source", l.source.name)
	return nil
}

func empty(cs *ChangeSet) bool { return len(bytes.TrimSpace(cs.Data)) == 0 }

// forget drops the values of the snapshot file, because the source answered that it
// has none.
func (l *layer) forget(err error) error {
	last, before := l.last, l.tree
	l.last, l.tree = nil, nil
	if failed := l.config.merge(); failed != nil {
		l.last, l.tree = last, before
		return failed
	}
	l.fromSnapshot = false
	l.config.opts.Logger.Warn("config source has nothing any more, what the snapshot file has of it is not used", "source", l.source.name)
	l.changed()
	return err
}

// changed makes keepSnapshot write the snapshot file.
func (l *layer) changed() {
	select {
	case l.config.dirty <- struct{}{}:
	default:
	}
}

func (l *layer) use(cs *ChangeSet) error {
	l.skip(cs.Skipped)
	if l.last != nil && !l.fromSnapshot && l.last.Format == cs.Format && bytes.Equal(l.last.Data, cs.Data) {
		return nil
	}
	tree, err := parse(l.config.opts.Reader, cs)
	if err != nil {
		return err
	}
	last, before := l.last, l.tree
	l.last, l.tree = cs, tree
	if err := l.config.merge(); err != nil {
		l.last, l.tree = last, before
		return err
	}
	l.fromSnapshot, l.updated = false, time.Now()
	l.changed()
	return nil
}

// skip notes the entries that the source left out, and logs them when they differ
// from those before.
func (l *layer) skip(entries []string) {
	if len(entries) > 0 && !slices.Equal(entries, l.skipped) {
		l.config.opts.Logger.Warn("config source has entries that are of no use, the others are taken", "source", l.source.name, "skipped", entries)
	}
	l.skipped = slices.Clone(entries)
}

// parse returns what one source says, with its nulls when the format is known.
func parse(r Reader, cs *ChangeSet) (conftree.Tree, error) {
	if len(cs.Data) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrInvalid, len(cs.Data), MaxSize)
	}
	if writesJSON(r) {
		return conftree.Decode(cs.Format, cs.Data)
	}
	said, err := parsed(r, cs)
	if err != nil {
		return nil, err
	}
	return conftree.Decode(said.Format, said.Data)
}
