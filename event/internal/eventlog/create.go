package eventlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/internal/wire"
	pb "github.com/micro/go-platform/event/proto"
)

// Create appends records of a client. Each is validated, and its result says
// whether it was refused. The log keeps copies.
func (l *Log) Create(ctx context.Context, records []*pb.Record) ([]*pb.Result, error) {
	entries := make([]*Entry, len(records))
	for i, r := range records {
		entries[i] = NewEntry(r)
	}
	if err := l.Append(ctx, entries); err != nil {
		return nil, err
	}
	if err := l.compare(ctx, entries); err != nil {
		return nil, err
	}
	results := make([]*pb.Result, len(entries))
	for i, e := range entries {
		results[i] = &pb.Result{Sequence: e.Sequence, Duplicate: e.Duplicate}
		switch {
		case errors.Is(e.Err, event.ErrConflict):
			results[i] = &pb.Result{Error: strings.TrimPrefix(e.Err.Error(), event.ErrConflict.Error()+": "), Conflict: true}
		case e.Err != nil:
			results[i] = &pb.Result{Error: strings.TrimPrefix(e.Err.Error(), event.ErrInvalid.Error()+": ")}
		}
	}
	return results, nil
}

// compare refuses entries that count as duplicates but differ from the event that
// has their id.
func (l *Log) compare(ctx context.Context, entries []*Entry) error {
	for _, e := range entries {
		if e.Err != nil || !e.Duplicate {
			continue
		}
		found, _, err := l.store.Read(ctx, e.Sequence-1, l.all, 1)
		if err != nil {
			return err
		}
		if len(found) == 1 && found[0].Sequence == e.Sequence && !wire.Same(found[0], e.Record) {
			e.Err = fmt.Errorf("%w: record %s: the log has another one of this id, at %d", event.ErrConflict, e.Record.Id, e.Sequence)
		}
	}
	return nil
}

// NewEntry returns the record as the log takes it, or an entry whose Err says
// why it does not.
func NewEntry(r *pb.Record) *Entry {
	if err := wire.Validate(r); err != nil {
		return &Entry{Record: r, Err: err}
	}
	r = proto.CloneOf(r)
	r.Sequence, r.Appended = 0, 0
	at := wire.FromMessage(r).Time()
	if at.IsZero() {
		at = time.Now()
	}
	r.Timestamp, r.TimestampNano = at.Unix(), at.UnixNano()
	return &Entry{Record: r}
}
