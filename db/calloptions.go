package db

import (
	"context"
	"errors"
	"fmt"

	pb "github.com/micro/go-platform/db/proto"
)

// The options of a call, by the methods that they fit. An option that a method
// cannot follow does not compile. WithContext, InDatabase and InTable fit all.
type (
	// PutOption fits Put.
	PutOption interface {
		set(c *call)
		fitsPut()
	}
	// UpdateOption fits Update and Put.
	UpdateOption interface {
		PutOption
		fitsUpdate()
	}
	// CreateOption fits Create, Update and Put.
	CreateOption interface {
		UpdateOption
		fitsCreate()
	}
	// DeleteOption fits Delete.
	DeleteOption interface {
		set(c *call)
		fitsDelete()
	}
	// ReadOption fits Read and Get.
	ReadOption interface {
		set(c *call)
		fitsRead()
	}
	// SearchOption fits Search and Each.
	SearchOption interface {
		set(c *call)
		fitsSearch()
	}
	// ChangeOption fits Create, Update, Put and Delete.
	ChangeOption interface {
		CreateOption
		DeleteOption
	}
	// MatchOption fits Update, Put and Delete.
	MatchOption interface {
		UpdateOption
		DeleteOption
	}
	// RecordOption fits Create, Update, Put, Read and Get.
	RecordOption interface {
		CreateOption
		ReadOption
	}
	// QueryOption fits Read, Get, Search and Each.
	QueryOption interface {
		ReadOption
		SearchOption
	}
	// CallOption fits every method.
	CallOption interface {
		ChangeOption
		QueryOption
	}
)

// option implements all of them; the function that returns it narrows it to one.
type option func(*call)

func (o option) set(c *call) { o(c) }
func (option) fitsPut()      {}
func (option) fitsUpdate()   {}
func (option) fitsCreate()   {}
func (option) fitsDelete()   {}
func (option) fitsRead()     {}
func (option) fitsSearch()   {}

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
	errs           []error
}

func newCall[T interface{ set(c *call) }](o Options, opts []T) *call {
	c := &call{ctx: context.Background(), database: o.Database, table: o.Table}
	for _, opt := range opts {
		if any(opt) != nil {
			opt.set(c)
		}
	}
	if !ValidName(c.database) {
		c.bad("InDatabase", "%.60q is not a name", c.database)
	}
	if !ValidName(c.table) {
		c.bad("InTable", "%.60q is not a name", c.table)
	}
	if c.create && (c.upsert || c.match != nil) {
		c.bad("CreateOnly", "neither with Upsert nor with IfMatch")
	}
	if c.upsert && c.match != nil {
		c.bad("Upsert", "not with IfMatch, which wants a record")
	}
	return c
}

func (c *call) bad(name, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("db: %w: option %s: %s", ErrInvalid, name, fmt.Sprintf(format, args...)))
}

func (c *call) err() error { return errors.Join(c.errs...) }

func (c *call) place() *pb.Database { return &pb.Database{Name: c.database, Table: c.table} }

// WithContext makes ctx the context of the call: its deadline instead of
// Timeout, its span and its metadata.
func WithContext(ctx context.Context) CallOption {
	return option(func(c *call) {
		if ctx == nil {
			c.bad("WithContext", "nil")
			return
		}
		c.ctx = ctx
	})
}

// InDatabase sets the database of the call in place of Database.
func InDatabase(name string) CallOption { return option(func(c *call) { c.database = name }) }

// InTable sets the table of the call in place of Table.
func InTable(name string) CallOption { return option(func(c *call) { c.table = name }) }

// IfMatch makes Update, Delete and Put change the record only while it has this
// etag, that of a record read before. Else they return ErrConflict.
func IfMatch(etag string) MatchOption {
	return option(func(c *call) {
		c.match = &etag
		if etag == "" {
			c.bad("IfMatch", "empty, as of a record that was not read")
		}
	})
}

// CreateOnly makes Put and Update create the record and return ErrExists when
// there is one. Create never does anything else.
func CreateOnly() UpdateOption { return option(func(c *call) { c.create = true }) }

// Upsert makes Update create the record when there is none, as Put does.
func Upsert() UpdateOption { return option(func(c *call) { c.upsert = true }) }

// Fence gives Create, Update, Delete and Put the fencing token of the lock that
// the caller holds, see package sync. The highest token of the changes that
// took place is remembered for each id of a table, for as long as the table is
// there, whether the record is or not; a change with a lower one is refused with
// ErrStale before anything else is looked at. Changes without a token are not
// checked. A token of 0 counts as none.
func Fence(token uint64) ChangeOption { return option(func(c *call) { c.token = token }) }

// Returning sets *r to the record as it was stored by Create, Update or Put or
// found by Read or Get, with its times and etag.
func Returning(r *Record) RecordOption { return option(func(c *call) { c.returning = r }) }

// WithMetadata sets the metadata that Put stores.
func WithMetadata(md Metadata) PutOption { return option(func(c *call) { c.metadata = md }) }

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
func WithConsistency(level Consistency) QueryOption {
	return option(func(c *call) {
		c.consistency = level
		if level != Strong && level != Eventual {
			c.bad("WithConsistency", "%d is unknown", level)
		}
	})
}
