// Package records is what calls to db mean, the same for db-srv on every
// database and for db/memory: it validates, translates between what travels and
// what a driver stores, and answers searches page by page.
package records

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	merrors "go-micro.dev/v6/errors"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/db/internal/srv/driver"
	pb "github.com/micro/go-platform/db/proto"
	"github.com/micro/go-platform/internal/rpcerr"
)

// Database is an open one. Changed is told of each change that is to be
// published, after it.
type Database interface {
	driver.Store
	Changed(table, action string, w driver.Write)
}

// Handler serves DB on the databases that Open finds.
type Handler struct {
	Open   func(ctx context.Context, name string) (Database, error)
	Events bool // publish every change
}

// fail makes err what a caller may see. That a database does not answer has a
// code of its own: at 503 clients would try again, and a change that took
// place would be made twice.
func fail(err error) error {
	switch {
	case errors.Is(err, driver.ErrUnavailable):
		return merrors.New(db.ServiceName, err.Error(), 502)
	case errors.Is(err, driver.ErrNoTable):
		return merrors.New(db.ServiceName, err.Error(), 404)
	case errors.Is(err, context.Canceled):
		return merrors.New(db.ServiceName, err.Error(), 408)
	}
	return rpcerr.To(db.ServiceName, err)
}

// open validates the names and returns the database.
func (h *Handler) open(ctx context.Context, d *pb.Database) (Database, string, error) {
	name, table, err := place(d)
	if err != nil {
		return nil, "", err
	}
	opened, err := h.Open(ctx, name)
	return opened, table, err
}

// write completes a record that is about to be stored.
func (h *Handler) write(m *pb.Record, token uint64, events bool) (driver.Write, error) {
	r, err := toDriver(m)
	if err != nil {
		return driver.Write{}, err
	}
	r.Created = time.Now().Unix()
	r.Updated, r.ETag = r.Created, rand.Text()
	return driver.Write{Record: r, Fence: driver.Fence(token), Outbox: events || h.Events}, nil
}

// stored is the answer to a change.
func stored(r *driver.Record) (*pb.Record, error) {
	m, err := fromDriver(r)
	if err == nil {
		m.Bytes = nil
	}
	return m, err
}

// Create stores a record that is not there yet.
func (h *Handler) Create(ctx context.Context, req *pb.CreateRequest, rsp *pb.CreateResponse) error {
	d, table, err := h.open(ctx, req.Database)
	if err != nil {
		return fail(err)
	}
	w, err := h.write(req.Record, req.Token, req.Events)
	if err != nil {
		return fail(err)
	}
	if err := d.Create(ctx, table, w); err != nil {
		return fail(err)
	}
	changed(d, table, db.Created, w)
	rsp.Record, err = stored(w.Record)
	return fail(err)
}

// Read returns a record.
func (h *Handler) Read(ctx context.Context, req *pb.ReadRequest, rsp *pb.ReadResponse) error {
	d, table, err := h.open(ctx, req.Database)
	if err == nil {
		err = checkID("id", req.Id)
	}
	if err == nil && pb.Consistency_name[int32(req.Consistency)] == "" {
		err = invalid("consistency: %d is unknown", req.Consistency)
	}
	if err != nil {
		return fail(err)
	}
	r, err := d.Read(ctx, table, req.Id, req.Consistency == pb.Consistency_EVENTUAL)
	if err != nil {
		return fail(err)
	}
	rsp.Record, err = fromDriver(r)
	return fail(err)
}

// Update replaces a record.
func (h *Handler) Update(ctx context.Context, req *pb.UpdateRequest, rsp *pb.UpdateResponse) error {
	d, table, err := h.open(ctx, req.Database)
	if err != nil {
		return fail(err)
	}
	w, err := h.write(req.Record, req.Token, req.Events)
	if err == nil && req.Upsert && req.IfMatch != "" {
		err = invalid("upsert: not together with if_match")
	}
	if err != nil {
		return fail(err)
	}
	w.Match, w.Upsert = req.IfMatch, req.Upsert
	created, err := d.Update(ctx, table, w)
	if err != nil {
		return fail(err)
	}
	action := db.Updated
	if created {
		action = db.Created
	}
	changed(d, table, action, w)
	rsp.Record, err = stored(w.Record)
	return fail(err)
}

// Delete removes a record.
func (h *Handler) Delete(ctx context.Context, req *pb.DeleteRequest, _ *pb.DeleteResponse) error {
	d, table, err := h.open(ctx, req.Database)
	if err == nil {
		err = checkID("id", req.Id)
	}
	if err != nil {
		return fail(err)
	}
	w, err := h.write(&pb.Record{Id: req.Id}, req.Token, req.Events)
	if err != nil {
		return fail(err)
	}
	w.Match = req.IfMatch
	if err := d.Delete(ctx, table, w); err != nil {
		return fail(err)
	}
	changed(d, table, db.Deleted, w)
	return nil
}

// Search returns a page of the records that match.
func (h *Handler) Search(ctx context.Context, req *pb.SearchRequest, rsp *pb.SearchResponse) error {
	d, table, err := h.open(ctx, req.Database)
	if err != nil {
		return fail(err)
	}
	q, err := toQuery(req)
	if err != nil {
		return fail(err)
	}
	return fail(collect(ctx, d, table, q, rsp))
}

// changed has the change published.
func changed(d Database, table, action string, w driver.Write) {
	if w.Outbox {
		d.Changed(table, action, w)
	}
}
