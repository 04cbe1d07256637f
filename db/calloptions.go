package db

import (
	"context"
	"errors"
	"fmt"

	pb "github.com/micro/go-platform/db/proto"
)

// CallOption changes one call. An option that makes no sense for a method is
// an error of it.
type CallOption func(*call)

// call is what the options of one call say.
type call struct {
	ctx             context.Context
	database, table string
	consistency     Consistency
	returning       *Record

	match          *string
	create, upsert bool
	token          uint64
	metadata       Metadata
	where          []*pb.Condition
	order          string
	reverse        bool
	after          Record
	more           *bool
	given          group // kinds of options
	errs           []error
}

// group is options that make sense for the same methods.
type group uint

const (
	forChanges group = 1 << iota
	forReads
	forSearches
	forRecords
	forPut
)

// unfit returns what of the options given makes no sense for a method.
func (c *call) unfit(method string) (names string) {
	fits := map[string]group{
		"create": forChanges | forRecords, "update": forChanges | forRecords, "delete": forChanges,
		"read": forReads | forRecords, "search": forReads | forSearches,
	}[method]
	for g, of := range map[group]string{
		forChanges: "IfMatch, CreateOnly, Upsert, Fence", forReads: "WithConsistency", forRecords: "Returning", forPut: "WithMetadata",
		forSearches: "Where, OrderBy, Descending, After, More",
	} {
		if c.given&g&^fits != 0 {
			names = of
		}
	}
	return names
}

func (o Options) call(opts []CallOption) *call {
	c := &call{ctx: context.Background(), database: o.Database, table: o.Table}
	for _, opt := range opts {
		opt(c)
	}
	if !ValidName(c.database) {
		c.bad("option InDatabase: %.60q is no name", c.database)
	}
	if !ValidName(c.table) {
		c.bad("option InTable: %.60q is no name", c.table)
	}
	return c
}

func (c *call) bad(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...))
}

func (c *call) err(method string) error {
	if names := c.unfit(method); names != "" {
		c.bad("option %s: not for %s", names, method)
	}
	if method == "delete" && (c.create || c.upsert) {
		c.bad("option CreateOnly, Upsert: not for delete")
	}
	if c.create && (c.upsert || c.match != nil) {
		c.bad("option CreateOnly: neither with Upsert nor with IfMatch")
	}
	if c.upsert && c.match != nil {
		c.bad("option Upsert: not with IfMatch, which wants a record")
	}
	return errors.Join(c.errs...)
}

func (c *call) place() *pb.Database { return &pb.Database{Name: c.database, Table: c.table} }

// WithContext makes ctx the context of the call: its deadline instead of
// Timeout, its span and its metadata.
func WithContext(ctx context.Context) CallOption {
	return func(c *call) {
		if ctx == nil {
			c.bad("option WithContext: nil")
			return
		}
		c.ctx = ctx
	}
}

// InDatabase sets the database of the call in place of Database.
func InDatabase(name string) CallOption { return func(c *call) { c.database = name } }

// InTable sets the table of the call in place of Table.
func InTable(name string) CallOption { return func(c *call) { c.table = name } }

// IfMatch makes Update, Delete and Put change the record only while it has this
// etag, that of a record read before. Else they return ErrConflict.
func IfMatch(etag string) CallOption {
	return func(c *call) {
		c.match, c.given = &etag, c.given|forChanges
		if etag == "" {
			c.bad("option IfMatch: empty, as of a record that was not read")
		}
	}
}

// CreateOnly makes Put and Update create the record and return ErrExists when
// there is one. Create never does anything else.
func CreateOnly() CallOption { return func(c *call) { c.create, c.given = true, c.given|forChanges } }

// Upsert makes Update create the record when there is none.
func Upsert() CallOption { return func(c *call) { c.upsert, c.given = true, c.given|forChanges } }

// Fence gives Create, Update, Delete and Put the fencing token of the lock that
// the caller holds, see package sync. The highest token of the changes that
// took place is remembered for each id of a table, for as long as the table is
// there, whether the record is or not; a change with a lower one is refused with
// ErrStale before anything else is looked at. Changes without a token are not
// checked. 0 is no token.
func Fence(token uint64) CallOption {
	return func(c *call) { c.token, c.given = token, c.given|forChanges }
}

// Returning sets *r to the record as it was stored by Create, Update or Put or
// found by Read or Get, with its times and etag.
func Returning(r *Record) CallOption {
	return func(c *call) { c.returning, c.given = r, c.given|forRecords }
}

// WithMetadata sets the metadata that Put stores.
func WithMetadata(md Metadata) CallOption {
	return func(c *call) { c.metadata, c.given = md, c.given|forPut }
}

// Consistency is what a Read or a Search must see.
type Consistency int32

// Strong sees every change that was acknowledged before. Eventual may be
// behind and costs less on Cassandra (one replica) and Elasticsearch (no
// refresh before a search); on the others it is Strong.
const (
	Strong   = Consistency(pb.Consistency_STRONG)
	Eventual = Consistency(pb.Consistency_EVENTUAL)
)

// WithConsistency sets what Read and Search must see, default Strong.
func WithConsistency(level Consistency) CallOption {
	return func(c *call) {
		c.consistency, c.given = level, c.given|forReads
		if level != Strong && level != Eventual {
			c.bad("option WithConsistency: %d is unknown", level)
		}
	}
}
