// Package db stores records over RPC: an id, metadata that is searched by, and
// bytes. NewDB talks to db-srv, which keeps them in SQLite, MySQL, PostgreSQL, Cassandra or
// Elasticsearch and gives the same answers and errors on each.
package db

import (
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/rpcerr"
)

// DB creates, reads, updates, deletes and searches the records of one table.
//
// All methods are safe for concurrent use. Read, Create, Update, Delete and Search
// block on the network until the service has answered, the context of WithContext
// has ended, or, without one, Timeout is over. The first such call starts the
// plugin; after Stop they return ErrStopped at once. A bad option fails Start and
// each of them. Nothing is tried a second time unless it cannot have been carried
// out: when a change returned ErrUnavailable or a deadline error, it may have taken
// place. Errors are matched with errors.Is.
type DB interface {
	// Init applies further options. It returns an error that names each option
	// with a bad value, and does not touch connections made already.
	Init(opts ...Option) error
	// Options returns the options in force.
	Options() Options
	// Read returns the record, or ErrNotFound.
	Read(id string, opts ...ReadOption) (Record, error)
	// Create stores a record that is not there yet, else it returns ErrExists.
	// Times and etag are set by the service; Returning fetches them.
	Create(r Record, opts ...CreateOption) error
	// Update replaces a record's metadata and bytes. Without Upsert it returns
	// ErrNotFound when there is none. It returns ErrConflict when IfMatch names
	// another etag than the record has.
	Update(r Record, opts ...UpdateOption) error
	// Delete removes the record. It returns ErrNotFound when there is none, and
	// ErrConflict when IfMatch names another etag than the record has.
	Delete(id string, opts ...DeleteOption) error
	// Search returns records whose metadata hold all of md and the conditions of
	// Where, ordered by the bytes of their ids or by OrderBy. Numbers equal
	// numbers of the same value whatever their type; texts, numbers and bools
	// never equal each other. A limit of 0 is DefaultLimit; more than MaxLimit is
	// MaxLimit. An answer is cut at MaxAnswer: use After, More or Each for the rest.
	// Negative limits and offsets, and offsets above MaxOffset, are ErrInvalid.
	Search(md Metadata, limit, offset int64, opts ...SearchOption) ([]Record, error)
	// String returns the name of the plugin.
	String() string
	// Start makes the plugin ready; it does not wait for the service. It is
	// idempotent, and optional: the first call does the same. What was stopped
	// does not start again.
	Start() error
	// Stop closes the connections. It is idempotent, and loses nothing: every
	// change was sent by its own call.
	Stop() error
}

// The database and the table of a DB that was told none. They are variables for
// the sake of programs written for the original go-platform; do not change them.
var (
	DefaultDatabase = "micro"
	DefaultTable    = "micro"
)

// ServiceName is the service that NewDB's calls go to, RegistryPrefix what the
// name of a database is put behind to find it at the registry.
const (
	ServiceName    = "go.micro.srv.db"
	RegistryPrefix = "go.micro.db."
)

// The sentinels that every method may return.
var (
	ErrNotFound    = rpcerr.ErrNotFound    // no such record or database, or table if none may be created
	ErrExists      = rpcerr.ErrExists      // there is a record of that id
	ErrConflict    = rpcerr.ErrConflict    // the record is not what IfMatch says
	ErrStale       = rpcerr.ErrStale       // the token of Fence is lower than one seen for the id; it is an ErrConflict too
	ErrInvalid     = rpcerr.ErrInvalid     // the error names the field
	ErrForbidden   = rpcerr.ErrForbidden   // the service refuses
	ErrUnavailable = rpcerr.ErrUnavailable // db-srv or the database does not answer
	ErrStopped     = lifecycle.ErrStopped  // Stop was called
)

// The bounds of records and searches, in bytes where not said otherwise.
const (
	MaxID        = 255
	MaxBytes     = 1 << 20
	MaxKeys      = 64      // of the metadata of a record
	MaxKey       = 128     // of a metadata key
	MaxMetadata  = 8 << 10 // keys and values of a record; a number counts as 8, a bool as 1
	MaxWhere     = 8       // conditions of a search, md included
	MaxName      = 40      // of a database or table name
	MaxOffset    = 100_000 // records
	MaxLimit     = 1000    // records
	MaxAnswer    = 3 << 20 // of all records of a search; clients take 4 MiB unless told otherwise
	DefaultLimit = 100     // records
)

// ValidName reports whether a database or table may have this name: lower-case
// letters, digits and underscores, a letter first, MaxName characters at most.
// Every engine takes these as they are, in any place.
func ValidName(name string) bool {
	if name == "" || len(name) > MaxName || name[0] < 'a' || name[0] > 'z' {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}
