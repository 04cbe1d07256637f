package dbsrv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	merrors "go-micro.dev/v5/errors"

	"github.com/micro/go-platform/db"
	pb "github.com/micro/go-platform/db/proto"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/srv/db/driver"
)

// handler serves DB: it validates, translates, and finds the database.
type handler struct {
	databases *directory
	events    bool // of every change
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
func (h *handler) open(ctx context.Context, d *pb.Database) (*database, string, error) {
	name, table, err := place(d)
	if err != nil {
		return nil, "", err
	}
	opened, err := h.databases.get(ctx, name)
	return opened, table, err
}

// write completes a record that is about to be stored.
func (h *handler) write(m *pb.Record, d *database, events bool) (driver.Write, error) {
	r, err := toDriver(m)
	if err != nil {
		return driver.Write{}, err
	}
	r.Created = time.Now().Unix()
	r.Updated, r.ETag = r.Created, rand.Text()
	return driver.Write{Record: r, Outbox: (events || h.events) && d.outbox != nil}, nil
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
func (h *handler) Create(ctx context.Context, req *pb.CreateRequest, rsp *pb.CreateResponse) error {
	d, table, err := h.open(ctx, req.Database)
	if err != nil {
		return fail(err)
	}
	w, err := h.write(req.Record, d, req.Events)
	if err != nil {
		return fail(err)
	}
	if err := d.store.Create(ctx, table, w); err != nil {
		return fail(err)
	}
	h.changed(d, table, driver.Create, w, req.Events)
	rsp.Record, err = stored(w.Record)
	return fail(err)
}

// Read returns a record.
func (h *handler) Read(ctx context.Context, req *pb.ReadRequest, rsp *pb.ReadResponse) error {
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
	r, err := d.store.Read(ctx, table, req.Id, req.Consistency == pb.Consistency_EVENTUAL)
	if err != nil {
		return fail(err)
	}
	rsp.Record, err = fromDriver(r)
	return fail(err)
}

// Update replaces a record.
func (h *handler) Update(ctx context.Context, req *pb.UpdateRequest, rsp *pb.UpdateResponse) error {
	d, table, err := h.open(ctx, req.Database)
	if err != nil {
		return fail(err)
	}
	w, err := h.write(req.Record, d, req.Events)
	if err == nil && req.Upsert && req.IfMatch != "" {
		err = invalid("upsert: not together with if_match")
	}
	if err != nil {
		return fail(err)
	}
	w.Match, w.Upsert = req.IfMatch, req.Upsert
	created, err := d.store.Update(ctx, table, w)
	if err != nil {
		return fail(err)
	}
	action := driver.Update
	if created {
		action = driver.Create
	}
	h.changed(d, table, action, w, req.Events)
	rsp.Record, err = stored(w.Record)
	return fail(err)
}

// Delete removes a record.
func (h *handler) Delete(ctx context.Context, req *pb.DeleteRequest, _ *pb.DeleteResponse) error {
	d, table, err := h.open(ctx, req.Database)
	if err == nil {
		err = checkID("id", req.Id)
	}
	if err != nil {
		return fail(err)
	}
	w, err := h.write(&pb.Record{Id: req.Id}, d, req.Events)
	if err != nil {
		return fail(err)
	}
	w.Match = req.IfMatch
	if err := d.store.Delete(ctx, table, w); err != nil {
		return fail(err)
	}
	h.changed(d, table, driver.Delete, w, req.Events)
	return nil
}

// Search returns a page of the records that match.
func (h *handler) Search(ctx context.Context, req *pb.SearchRequest, rsp *pb.SearchResponse) error {
	d, table, err := h.open(ctx, req.Database)
	if err != nil {
		return fail(err)
	}
	q, err := toQuery(req)
	if err != nil {
		return fail(err)
	}
	return fail(collect(ctx, d.store, table, q, rsp))
}

// changed has the change published: from the outbox, or by way of a queue in
// memory where there is none.
func (h *handler) changed(d *database, table, action string, w driver.Write, events bool) {
	switch {
	case w.Outbox:
		d.hurry()
	case events || h.events:
		r := w.Record
		c := driver.Change{ID: r.ETag, Table: table, Record: r.ID, Action: action, ETag: r.ETag, At: r.Updated, Metadata: r.Metadata}
		if action == driver.Delete {
			c.ETag, c.Metadata = "", nil
		}
		h.databases.relay.unsafe(d.name, c)
	}
}

// errUnknown is the error of a database that nobody has heard of.
func errUnknown(name string) error {
	return fmt.Errorf("%w: database %s: neither given by --database nor registered as %s%[2]s", rpcerr.ErrNotFound, name, db.RegistryPrefix)
}
