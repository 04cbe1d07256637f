package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/lifecycle"
)

// LifeSign is how often waiting readers are told that nothing happened, so that
// they can tell a quiet log from a dead connection.
const LifeSign = 5 * time.Second

// Resolve turns where somebody wants to begin into a cursor. A sequence of
// another log than this one is its beginning.
func (l *Log) Resolve(ctx context.Context, start pb.Start, sequence uint64, nano int64, log string) (uint64, error) {
	switch start {
	case pb.Start_NOW:
		return l.Last(), nil
	case pb.Start_BEGINNING:
		return l.expired.Load(), nil
	case pb.Start_SEQUENCE:
		if sequence == 0 {
			return 0, fmt.Errorf("%w: sequence: the first is 1", event.ErrInvalid)
		}
		if log != "" && log != l.ID() {
			return l.expired.Load(), nil
		}
		return sequence - 1, nil
	case pb.Start_TIME:
		if nano < 0 {
			return 0, fmt.Errorf("%w: time: negative", event.ErrInvalid)
		}
		return l.store.Before(ctx, nano)
	}
	return 0, fmt.Errorf("%w: start: %d is unknown", event.ErrInvalid, start)
}

// Read returns what comes after a cursor.
func (l *Log) Read(ctx context.Context, after uint64, f plugin.Filter, limit int) (*plugin.Page, error) {
	page := &plugin.Page{Log: l.ID(), Last: l.Last()}
	skip := func() {
		if expired := l.expired.Load(); after < expired {
			page.Skipped += expired - after
			after = expired
		}
	}
	skip()
	var ok bool
	if page.Records, page.Cursor, ok = l.tail.read(after, f, limit); !ok {
		var err error
		if l.store.Shared() { // else nobody removes anything without our doing
			err = l.learn(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: read the log: %w", event.ErrUnavailable, err)
		}
		skip()
		if page.Records, page.Cursor, err = l.store.Read(ctx, after, f, limit); err != nil {
			return nil, fmt.Errorf("%w: read the log: %w", event.ErrUnavailable, err)
		}
	}
	// A store that knows of no more records has looked at the rest.
	if page.Cursor == after && after < page.Last && len(page.Records) == 0 {
		page.Cursor = page.Last
	}
	return page, nil
}

// Follow sends pages from a cursor on until ctx or the log ends or deliver
// fails. A page without records is a sign of life or says how far the log was
// looked at: a reader of rare types that loses its connection goes on there.
func (l *Log) Follow(ctx context.Context, after uint64, f plugin.Filter, limit int, deliver func(*plugin.Page) error) error {
	alive := time.NewTimer(LifeSign)
	defer alive.Stop()
	var told time.Time
	tell := func(page *plugin.Page) error {
		err := deliver(page)
		told = time.Now()
		alive.Reset(LifeSign)
		return err
	}
	// The first page tells the caller where it stands.
	if err := tell(&plugin.Page{Log: l.ID(), Last: l.Last(), Cursor: after}); err != nil {
		return err
	}
	for {
		last, grown := l.tail.grown()
		if after >= last && after >= l.expired.Load() {
			if err := l.quiet(ctx, grown, alive.C); err != nil {
				return err
			}
		}
		page, err := l.Read(ctx, after, f, limit)
		if err != nil {
			return err
		}
		after = page.Cursor
		if len(page.Records) > 0 || page.Skipped > 0 || time.Since(told) >= LifeSign {
			if err := tell(page); err != nil {
				return err
			}
		}
		if err := errors.Join(ctx.Err(), l.Err()); err != nil {
			return err
		}
	}
}

// quiet waits until the log grows, or a sign of life is due.
func (l *Log) quiet(ctx context.Context, grown <-chan struct{}, alive <-chan time.Time) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-l.done:
		return l.why
	case <-grown:
	case <-alive:
	}
	return nil
}

// Find returns the newest record of the id.
func (l *Log) Find(ctx context.Context, id string) (*pb.Record, error) {
	return l.store.Find(ctx, id)
}

// Search returns records that match, and whether there may be more.
func (l *Log) Search(ctx context.Context, q Query) ([]*pb.Record, bool, error) {
	return l.store.Search(ctx, q)
}

// Erase removes all records of the id.
func (l *Log) Erase(ctx context.Context, id string) (int, error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	n, err := l.store.Erase(ctx, id)
	l.tail.forget()
	return n, err
}

// expire removes what is too old or too much, a bit at a time so that
// publishers do not wait.
func (l *Log) expire(ctx context.Context) {
	every := time.Minute
	if l.conf.Retention > 0 {
		every = min(max(l.conf.Retention/10, 100*time.Millisecond), every)
	}
	for {
		more, err := l.expireSome(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			l.conf.Logger.Error("cannot remove old records", "error", err)
		case more:
			continue
		}
		if !lifecycle.Sleep(ctx, every) {
			return
		}
	}
}

func (l *Log) expireSome(ctx context.Context) (more bool, err error) {
	before := int64(0)
	if l.conf.Retention > 0 {
		before = time.Now().Add(-l.conf.Retention).UnixNano()
	}
	l.writing.Lock()
	more, err = l.store.Expire(ctx, before, l.conf.MaxBytes)
	l.writing.Unlock()
	if err != nil {
		return false, err
	}
	expired, _, err := l.store.Bounds(ctx)
	if err == nil {
		l.expired.Store(expired)
	}
	return more, err
}
