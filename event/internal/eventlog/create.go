package eventlog

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/internal/wire"
	pb "github.com/micro/go-platform/event/proto"
)

// Create appends records of somebody else: each is validated, and its result
// says whether it was refused. The log keeps copies.
func (l *Log) Create(ctx context.Context, records []*pb.Record) ([]*pb.Result, error) {
	entries := make([]*Entry, len(records))
	for i, r := range records {
		entries[i] = NewEntry(r)
	}
	if err := l.Append(ctx, entries); err != nil {
		return nil, err
	}
	results := make([]*pb.Result, len(entries))
	for i, e := range entries {
		results[i] = &pb.Result{Sequence: e.Sequence, Duplicate: e.Duplicate}
		if e.Err != nil {
			results[i] = &pb.Result{Error: strings.TrimPrefix(e.Err.Error(), event.ErrInvalid.Error()+": ")}
		}
	}
	return results, nil
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
