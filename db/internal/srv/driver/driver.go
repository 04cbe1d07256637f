// Package driver is what db-srv wants of a database. Everything that must be
// the same on all of them (names, types, limits, comparisons, errors) is settled
// above it: a driver stores opaque bytes under ids, compares terms byte by byte
// and keeps two writers apart.
package driver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/micro/go-platform/internal/rpcerr"
)

// The errors of a Store besides rpcerr's ErrNotFound, ErrExists and
// ErrConflict. Any other is taken for a fault of the database.
var (
	// ErrUnavailable says that the database did not answer, so that nobody knows
	// whether a change took place.
	ErrUnavailable = errors.New("database not available")
	// ErrNoTable says that the table of the records is not there, from a write
	// that may not create it; of an outbox, that there is none and may be none.
	ErrNoTable = errors.New("no such table")
)

// Record is a record as it is stored.
type Record struct {
	ID               string
	Created, Updated int64 // unix seconds
	ETag             string
	Metadata         []byte // opaque
	Terms            []Term // what it is found by, at most one of a key
	Data             []byte
}

// Term is a metadata value in a form whose byte order is the order of the
// values; both are valid UTF-8.
type Term struct {
	Key   string
	Value string
}

// Condition wants a term of the key with Low <= value < High. Exact says that
// Low is the only one there can be. Both bounds are valid UTF-8.
type Condition struct {
	Key       string
	Low, High string
	Exact     bool
}

// Query is a search, with the bounds checked.
type Query struct {
	Where    []Condition
	Order    string // key of the term to order by, then by id; empty: by id
	Reverse  bool   // the whole order
	After    *Cursor
	Limit    int
	Bytes    int // a search ends with the record that makes it more, see Page
	Offset   int
	Eventual bool
}

// Cursor is a place in the order of a Query.
type Cursor struct {
	Value string // of the term of Order; empty without
	ID    string
}

// Change is an entry of an outbox: what happened to one record.
type Change struct {
	Seq      int64 // order within the outbox
	ID       string
	Table    string
	Record   string
	Action   string // db.Created, db.Updated or db.Deleted
	ETag     string // empty after a delete
	At       int64  // unix seconds
	Metadata []byte // of the record; empty after a delete
}

// Write is a change to one record.
type Write struct {
	Record *Record // Updated and ETag are those to be stored, Created too if it is new
	Match  string  // the etag it must have; empty: any
	Upsert bool    // of Update: create it when it is not there
	Fence  string  // of a token; a change with one below that of an earlier change is stale; empty: no token
	Outbox bool    // keep the change in the outbox, if there is one
}

// Fence returns a token in a form whose byte order is that of the tokens, and ""
// for 0, which is none.
func Fence(token uint64) string {
	if token == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", token)
}

// Check reports whether w is stale where seen is the highest Fence so far. The
// error is fence.ErrStale and rpcerr.ErrConflict.
func (w Write) Check(seen string) error {
	if w.Fence == "" || w.Fence >= seen {
		return nil
	}
	return fmt.Errorf("%w: %w: %s, have seen %s", rpcerr.ErrConflict, rpcerr.ErrStale, token(w.Fence), token(seen))
}

// token is a Fence for people.
func token(f string) string {
	n, err := strconv.ParseUint(f, 16, 64)
	if err != nil {
		return fmt.Sprintf("%q", f) // not ours
	}
	return strconv.FormatUint(n, 10)
}

// Store is an open database. All methods are safe for concurrent use. Names of
// tables are valid (db.ValidName). A read of a table that is not there finds
// nothing; a write creates it unless NoCreate forbids.
type Store interface {
	Read(ctx context.Context, table, id string, eventual bool) (*Record, error)
	// Create stores a record whose id there is none of yet, else it returns
	// rpcerr.ErrExists.
	//
	// The highest Fence of the changes that took place is kept for each id, also
	// while there is no such record: writes with a lower one are refused with
	// Check's error before anything else is looked at.
	Create(ctx context.Context, table string, w Write) error
	// Update replaces the record. It sets Created to what was stored, and reports
	// whether it created the record.
	Update(ctx context.Context, table string, w Write) (created bool, err error)
	// Delete removes the record with Record.ID; its ETag and Updated are those of
	// the change.
	Delete(ctx context.Context, table string, w Write) error
	// Search returns the records in order: a Page of them, less at the end. It
	// holds little more than that in memory.
	Search(ctx context.Context, table string, q Query) ([]*Record, error)
	Ping(ctx context.Context) error
	Close() error
}

// Outbox is a Store that keeps changes in the transaction of the write that
// made them.
type Outbox interface {
	// Pending returns the oldest changes that were not removed, at most limit.
	Pending(ctx context.Context, limit int) ([]Change, error)
	// Remove removes changes that one Pending returned.
	Remove(ctx context.Context, changes []Change) error
}

// Config says how to open a database.
type Config struct {
	Hosts    []string // "host:port"
	Secure   bool     // speak TLS to them
	Path     string   // file of an embedded one
	Database string   // its name on the server
	User     string
	Password string
	Replicas int  // of a keyspace that has to be created
	NoCreate bool // tables, and keyspaces, must be there
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)
}
