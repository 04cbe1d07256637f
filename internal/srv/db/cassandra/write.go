package cassandra

import (
	"context"
	"errors"
	"fmt"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/srv/db/driver"
)

// errAgain is returned by a try that lost a race, or did not hear how it ended.
var errAgain = errors.New("lost a race")

// retry tries until it is decided or ctx ends. All tries but the first begin
// with a read that settles what was in flight: a try whose answer was lost may
// have taken place.
func (s *store) retry(ctx context.Context, doing, table string, creates bool, try func(first bool) error) error {
	wait := backoff.Backoff{Min: 5 * time.Millisecond, Max: 200 * time.Millisecond}
	created := false
	for first := true; ; first = false {
		err := wrap(ctx, doing, try(first))
		switch {
		case errors.Is(err, driver.ErrNoTable) && creates && !created:
			created = true
			if err := s.createTable(ctx, table); err != nil {
				return err
			}
		case errors.Is(err, errAgain):
			if err := wait.Wait(ctx); err != nil {
				return fmt.Errorf("%s: %w", doing, err)
			}
		default:
			return err
		}
	}
}

// state is what a write needs to know of the record it changes.
type state struct {
	created int64
	etag    string
	terms   map[string]string
}

// current reads the state. A settled read first brings to its end, or makes
// void, every change whose outcome is not known.
func (s *store) current(ctx context.Context, table, id string, settled bool) (*state, error) {
	level := gocql.Quorum
	if settled {
		level = gocql.Serial
	}
	var c state
	err := s.query(table, `SELECT created, etag, terms FROM {r} WHERE id = ?`, id).
		Consistency(level).ScanContext(ctx, &c.created, &c.etag, &c.terms)
	if errors.Is(err, gocql.ErrNotFound) {
		return nil, rpcerr.ErrNotFound
	}
	return &c, err
}

// swap carries out a conditional statement. A timeout of the cluster's is
// errAgain: nobody knows how it ended.
func (s *store) swap(ctx context.Context, q *gocql.Query) (applied bool, err error) {
	applied, err = q.MapScanCASContext(ctx, make(map[string]any))
	var e gocql.RequestError
	if errors.As(err, &e) && (e.Code() == gocql.ErrCodeWriteTimeout || e.Code() == gocql.ErrCodeCASWriteUnknown) {
		err = fmt.Errorf("%w: %w", errAgain, err)
	}
	return applied, err
}

func termMap(r *driver.Record) map[string]string {
	terms := make(map[string]string, len(r.Terms))
	for _, t := range r.Terms {
		terms[t.Key] = t.Value
	}
	return terms
}

// index adds or removes the terms of one state of a record.
func (s *store) index(ctx context.Context, table, text, id, etag string, terms map[string]string) error {
	b := s.session.Batch(gocql.UnloggedBatch)
	text = s.text(table, text)
	b.Query(text, self, bucket(id), idTerm(id), id, etag)
	for key, value := range terms {
		b.Query(text, key, bucket(id), value, id, etag)
	}
	return b.ExecContext(ctx)
}

const (
	addTerm  = `INSERT INTO {t} (k, bucket, v, id, etag) VALUES (?, ?, ?, ?, ?)`
	dropTerm = `DELETE FROM {t} WHERE k = ? AND bucket = ? AND v = ? AND id = ? AND etag = ?`
)

// drop removes the terms of a state that is over. What it cannot remove lies
// there without harm: searches compare the etag with the record's.
func (s *store) drop(ctx context.Context, table, id, etag string, terms map[string]string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_ = s.index(ctx, table, dropTerm, id, etag, terms) // see above
}

func (s *store) Create(ctx context.Context, table string, w driver.Write) error {
	return s.retry(ctx, "create", table, true, func(first bool) error {
		return s.create(ctx, table, w.Record, first)
	})
}

func (s *store) create(ctx context.Context, table string, r *driver.Record, first bool) error {
	if !first { // perhaps it did take place
		c, err := s.current(ctx, table, r.ID, true)
		switch {
		case err == nil && c.etag == r.ETag:
			return nil
		case err != nil && !errors.Is(err, rpcerr.ErrNotFound):
			return err
		}
	}
	terms := termMap(r)
	// The terms come first: a record without would never be found.
	if err := s.index(ctx, table, addTerm, r.ID, r.ETag, terms); err != nil {
		return err
	}
	applied, err := s.swap(ctx, s.query(table, `INSERT INTO {r} (id, created, updated, etag, terms, metadata, data) VALUES (?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS`,
		r.ID, r.Created, r.Updated, r.ETag, terms, r.Metadata, r.Data))
	if err == nil && !applied {
		s.drop(ctx, table, r.ID, r.ETag, terms)
		err = rpcerr.ErrExists
	}
	return err
}

func (s *store) Update(ctx context.Context, table string, w driver.Write) (isNew bool, err error) {
	begun := w.Record.Created
	err = s.retry(ctx, "update", table, w.Upsert, func(first bool) error {
		w.Record.Created = begun
		c, err := s.current(ctx, table, w.Record.ID, !first)
		if errors.Is(err, rpcerr.ErrNotFound) && w.Upsert {
			isNew = true
			if err = s.create(ctx, table, w.Record, true); errors.Is(err, rpcerr.ErrExists) {
				err = errAgain
			}
			return err
		}
		if err != nil {
			return err
		}
		if c.etag == w.Record.ETag { // a try before did take place
			w.Record.Created = c.created
			return nil
		}
		if w.Match != "" && w.Match != c.etag {
			return rpcerr.ErrConflict
		}
		w.Record.Created, isNew = c.created, false
		return s.update(ctx, table, w.Record, c)
	})
	if errors.Is(err, driver.ErrNoTable) && !w.Upsert {
		err = rpcerr.ErrNotFound
	}
	return isNew, err
}

func (s *store) update(ctx context.Context, table string, r *driver.Record, c *state) error {
	terms := termMap(r)
	if err := s.index(ctx, table, addTerm, r.ID, r.ETag, terms); err != nil {
		return err
	}
	applied, err := s.swap(ctx, s.query(table, `UPDATE {r} SET updated = ?, etag = ?, terms = ?, metadata = ?, data = ? WHERE id = ? IF etag = ?`,
		r.Updated, r.ETag, terms, r.Metadata, r.Data, r.ID, c.etag))
	switch {
	case err != nil:
		return err
	case !applied:
		s.drop(ctx, table, r.ID, r.ETag, terms)
		return errAgain
	}
	s.drop(ctx, table, r.ID, c.etag, c.terms)
	return nil
}

func (s *store) Delete(ctx context.Context, table string, w driver.Write) error {
	id, tried := w.Record.ID, ""
	var terms map[string]string // of the state that a try may have deleted
	err := s.retry(ctx, "delete", table, false, func(first bool) error {
		c, err := s.current(ctx, table, id, !first)
		switch {
		case errors.Is(err, rpcerr.ErrNotFound) && tried != "":
			s.drop(ctx, table, id, tried, terms)
			return nil // by us, or by another at the same time
		case err != nil:
			return err
		case w.Match != "" && w.Match != c.etag:
			return rpcerr.ErrConflict
		}
		tried = ""
		applied, err := s.swap(ctx, s.query(table, `DELETE FROM {r} WHERE id = ? IF etag = ?`, id, c.etag))
		switch {
		case errors.Is(err, errAgain):
			tried, terms = c.etag, c.terms
		case err == nil && !applied:
			err = errAgain
		case err == nil:
			s.drop(ctx, table, id, c.etag, c.terms)
		}
		return err
	})
	if errors.Is(err, driver.ErrNoTable) {
		err = rpcerr.ErrNotFound
	}
	return err
}
