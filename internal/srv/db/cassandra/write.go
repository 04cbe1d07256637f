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
	created, altered := false, false
	for first := true; ; first = false {
		err := wrap(ctx, doing, try(first))
		switch {
		case errors.Is(err, errNoFence) && !s.fixed && !altered:
			altered = true
			if err := s.addFence(ctx, table); err != nil {
				return err
			}
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

// state is what a write needs to know of the record it changes. One that is not
// there has no etag, and may have a fence all the same.
type state struct {
	created int64
	etag    string
	terms   map[string]string
	fence   string
}

func (c *state) there() bool { return c.etag != "" }

// current reads the state. A settled read first brings to its end, or makes
// void, every change whose outcome is not known.
func (s *store) current(ctx context.Context, table, id string, settled bool) (*state, error) {
	level := gocql.Quorum
	if settled {
		level = gocql.Serial
	}
	var c state
	err := s.query(table, `SELECT created, etag, terms, fence FROM {r} WHERE id = ?`, id).
		Consistency(level).ScanContext(ctx, &c.created, &c.etag, &c.terms, &c.fence)
	if errors.Is(err, gocql.ErrNotFound) {
		return &c, nil
	}
	return &c, err
}

// swap carries out a conditional statement. A timeout of the cluster's is
// errAgain: nobody knows how it ended.
// What is in the way of one that was not applied has the etag there.
func (s *store) swap(ctx context.Context, q *gocql.Query) (applied bool, there string, err error) {
	found := make(map[string]any)
	applied, err = q.MapScanCASContext(ctx, found)
	there, _ = found["etag"].(string) // null: nothing
	var e gocql.RequestError
	if errors.As(err, &e) && (e.Code() == gocql.ErrCodeWriteTimeout || e.Code() == gocql.ErrCodeCASWriteUnknown) {
		err = fmt.Errorf("%w: %w", errAgain, err)
	}
	return applied, there, err
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

// orNull makes an empty text the null that a column without a value has.
func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// replace puts the record in the place of the state c, and raises its fence. It
// returns errAgain when the state is another by now, and sets c.etag to it.
func (s *store) replace(ctx context.Context, table string, w driver.Write, c *state) error {
	r, terms := w.Record, termMap(w.Record)
	// The terms come first: a record without would never be found.
	if err := s.index(ctx, table, addTerm, r.ID, r.ETag, terms); err != nil {
		return err
	}
	applied, there, err := s.swap(ctx, s.query(table,
		`UPDATE {r} SET created = ?, updated = ?, etag = ?, terms = ?, metadata = ?, data = ?, fence = ? WHERE id = ? IF etag = ? AND fence = ?`,
		r.Created, r.Updated, r.ETag, terms, r.Metadata, r.Data, orNull(max(w.Fence, c.fence)), r.ID, orNull(c.etag), orNull(c.fence)))
	switch {
	case err != nil:
		return err
	case !applied:
		s.drop(ctx, table, r.ID, r.ETag, terms)
		c.etag = there
		return errAgain
	case c.there():
		s.drop(ctx, table, r.ID, c.etag, c.terms)
	}
	return nil
}

func (s *store) Create(ctx context.Context, table string, w driver.Write) error {
	return s.retry(ctx, "create", table, true, func(first bool) error {
		c := &state{}
		if !first || w.Fence != "" { // else what is in the way turns up soon enough
			var err error
			if c, err = s.current(ctx, table, w.Record.ID, !first); err != nil {
				return err
			}
		}
		switch {
		case c.etag == w.Record.ETag: // a try before did take place
			return nil
		case w.Check(c.fence) != nil:
			return w.Check(c.fence)
		case c.there():
			return rpcerr.ErrExists
		}
		err := s.replace(ctx, table, w, c)
		if errors.Is(err, errAgain) && c.there() && w.Fence == "" {
			err = rpcerr.ErrExists
		}
		return err
	})
}

func (s *store) Update(ctx context.Context, table string, w driver.Write) (isNew bool, err error) {
	begun := w.Record.Created
	err = s.retry(ctx, "update", table, w.Upsert, func(first bool) error {
		w.Record.Created = begun
		c, err := s.current(ctx, table, w.Record.ID, !first)
		if err != nil {
			return err
		}
		if c.there() {
			w.Record.Created = c.created
		}
		switch {
		case c.etag == w.Record.ETag: // a try before did take place
			return nil
		case w.Check(c.fence) != nil:
			return w.Check(c.fence)
		case !c.there() && !w.Upsert:
			return rpcerr.ErrNotFound
		case w.Match != "" && w.Match != c.etag:
			return rpcerr.ErrConflict
		}
		isNew = !c.there()
		return s.replace(ctx, table, w, c)
	})
	if errors.Is(err, driver.ErrNoTable) && !w.Upsert {
		err = rpcerr.ErrNotFound
	}
	return isNew, err
}

func (s *store) Delete(ctx context.Context, table string, w driver.Write) error {
	id := w.Record.ID
	var tried *state // that a try may have deleted
	err := s.retry(ctx, "delete", table, false, func(first bool) error {
		c, err := s.current(ctx, table, id, !first)
		if err != nil {
			return err
		}
		switch {
		case w.Check(c.fence) != nil:
			return w.Check(c.fence)
		case !c.there() && tried != nil:
			s.drop(ctx, table, id, tried.etag, tried.terms)
			return nil // by us, or by another at the same time
		case !c.there():
			return rpcerr.ErrNotFound
		case w.Match != "" && w.Match != c.etag:
			return rpcerr.ErrConflict
		}
		tried = nil
		applied, _, err := s.swap(ctx, s.remove(table, id, c, max(w.Fence, c.fence)))
		switch {
		case errors.Is(err, errAgain):
			tried = c
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

// remove deletes a record and leaves its fence, if it has one.
func (s *store) remove(table, id string, c *state, fence string) *gocql.Query {
	if fence == "" {
		return s.query(table, `DELETE FROM {r} WHERE id = ? IF etag = ? AND fence = ?`, id, c.etag, nil)
	}
	return s.query(table,
		`UPDATE {r} SET created = ?, updated = ?, etag = ?, terms = ?, metadata = ?, data = ?, fence = ? WHERE id = ? IF etag = ? AND fence = ?`,
		nil, nil, nil, nil, nil, nil, fence, id, c.etag, orNull(c.fence))
}
