// Package eventlog is the log of records behind event-srv and event/memory:
// appends that share a commit, readers that follow, and durable subscriptions.
// What is kept is a Store's affair.
package eventlog

import (
	"context"
	"errors"

	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
)

// ErrFenced is returned by a Commit, or Bounds, when another process has opened the store
// since.
var ErrFenced = errors.New("another event-srv has taken over this log")

// ErrReplaced is returned by Bounds when the log is gone and another one is in its
// place.
var ErrReplaced = errors.New("the log has been replaced by another one, start event-srv again to serve that")

// Store keeps the records of one log and the state of its subscriptions.
// Commit, Erase and Expire are called by one goroutine at a time, the others
// by any number.
type Store interface {
	// ID names the log. A log that lost its records is another one.
	ID() string
	// Bounds returns up to which sequence retention has removed records, and
	// the last sequence that was given. It is asked now and then, and returns
	// ErrFenced when it finds that Commit would, or ErrReplaced.
	Bounds(ctx context.Context) (expired, last uint64, err error)
	// Commit appends the entries in order and replaces the states, and returns
	// when both are on disk. It sets Sequence, and Duplicate of entries whose
	// Id is known. After an error nothing was done, unless Err of an entry
	// is what tells: then the others were.
	Commit(ctx context.Context, entries []*Entry, states []State) error
	// Read returns records after a sequence, in order, that the filter
	// selects, and the cursor for the next Read: everything up to there was
	// looked at. It stops at limit records or about MaxPage bytes. Fewer
	// records than limit do not mean that the log ends. A cursor equal to
	// after does.
	Read(ctx context.Context, after uint64, f plugin.Filter, limit int) (records []*pb.Record, cursor uint64, err error)
	// Before returns the last sequence that was appended before a time, unix
	// nanoseconds.
	Before(ctx context.Context, nano int64) (uint64, error)
	// Find returns the newest record of the id, or nil.
	Find(ctx context.Context, id string) (*pb.Record, error)
	// Search returns records that match, and whether MaxPage cut them off.
	Search(ctx context.Context, q Query) (records []*pb.Record, cut bool, err error)
	// Erase removes all records of the id and returns how many there were.
	Erase(ctx context.Context, id string) (int, error)
	// Expire removes some of the records appended before a time, and of the
	// oldest while all have more than the bytes, and reports whether there are
	// more to remove. Bytes of zero do not bound.
	Expire(ctx context.Context, before, bytes int64) (more bool, err error)
	// States returns the states of all subscriptions.
	States(ctx context.Context) ([]State, error)
	// Shared reports whether others append too, so that the log has to look.
	Shared() bool
	Close() error
}

// Entry is a record to be appended.
type Entry struct {
	Record *pb.Record
	Again  bool // append although the id is known

	Sequence  uint64
	Duplicate bool
	Err       error
}

// State is what a subscription wants kept; without data it is to be forgotten.
type State struct {
	Name string
	Data []byte
}

// Query is a search. A zero value does not restrict it.
type Query struct {
	ID            string
	Filter        plugin.Filter
	From, To      int64 // unix nanoseconds of the record
	After         uint64
	Limit, Offset int64
	Reverse       bool
}

// Matches reports whether the record is what the query looks for, but for After.
func (q Query) Matches(r *pb.Record) bool {
	return (q.ID == "" || q.ID == r.Id) && q.Filter.Match(r.Type) &&
		(q.From == 0 || r.TimestampNano >= q.From) && (q.To == 0 || r.TimestampNano < q.To)
}

// MaxPage bounds the records of one Read or Search in bytes, give or take one
// record: go-micro's clients refuse messages of 4 MB.
const MaxPage = 2 << 20
