package cassandra

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/micro/go-platform/db/internal/srv/driver"
	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/rpcerr"
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

// state is what a write needs to know of the record it changes. One that is not
// there has no etag, and may have a fence all the same.
type state struct {
	created int64 // of one that is not there: the mark of its deletion, for a while
	etag    string
	terms   map[string]string
	indexed map[string]string
	fence   string
}

func (c *state) there() bool { return c.etag != "" }

// row is a term as the index has it.
type row struct{ key, value, etag string }

// rows are those of a record to be stored. What the state before has too keeps the
// etag that it has there.
func rows(r *driver.Record, before map[string]row) map[string]row {
	all := map[string]row{self: {self, idTerm(r.ID), r.ETag}}
	for _, t := range r.Terms {
		all[t.Key] = row{t.Key, t.Value, r.ETag}
	}
	for key, old := range before {
		if all[key].value == old.value {
			all[key] = old
		}
	}
	return all
}

// rows returns the rows of the state: none if there is no record.
func (c *state) rows(id string) map[string]row {
	all := make(map[string]row, len(c.indexed))
	for key, etag := range c.indexed {
		value := c.terms[key]
		if key == self {
			value = idTerm(id)
		}
		all[key] = row{key, value, etag}
	}
	return all
}

// without are the rows that are not among the others.
func without(all, others map[string]row) []row {
	var left []row
	for key, r := range all {
		if others[key] != r {
			left = append(left, r)
		}
	}
	return left
}

// current reads the state. A settled read first brings to its end, or makes
// void, every change whose outcome is not known.
func (s *store) current(ctx context.Context, table, id string, settled bool) (*state, error) {
	level := gocql.Quorum
	if settled {
		level = gocql.Serial
	}
	var c state
	err := s.query(table, `SELECT created, etag, terms, indexed, fence FROM {r} WHERE id = ?`, id).
		Consistency(level).ScanContext(ctx, &c.created, &c.etag, &c.terms, &c.indexed, &c.fence)
	if errors.Is(err, gocql.ErrNotFound) {
		return &c, nil
	}
	return &c, err
}

// conditional is a statement, or several, that takes place only on a condition.
type conditional func(ctx context.Context, found map[string]any) (applied bool, err error)

// swap carries it out. A timeout of the cluster's is errAgain: nobody knows how
// it ended.
// What is in the way of one that was not applied has the etag there.
func (s *store) swap(ctx context.Context, change conditional) (applied bool, there string, err error) {
	found := make(map[string]any)
	applied, err = change(ctx, found)
	there, _ = found["etag"].(string) // null: nothing
	var e gocql.RequestError
	if errors.As(err, &e) && (e.Code() == gocql.ErrCodeWriteTimeout || e.Code() == gocql.ErrCodeCASWriteUnknown) {
		err = fmt.Errorf("%w: %w", errAgain, err)
	}
	return applied, there, err
}

// index adds or removes rows of a record's terms.
func (s *store) index(ctx context.Context, table, text, id string, rows []row) error {
	if len(rows) == 0 {
		return nil
	}
	b := s.session.Batch(gocql.UnloggedBatch)
	text = s.text(table, text)
	for _, r := range rows {
		b.Query(text, r.key, bucket(id), r.value, id, r.etag)
	}
	return b.ExecContext(ctx)
}

const (
	addTerm  = `INSERT INTO {t} (k, bucket, v, id, etag) VALUES (?, ?, ?, ?, ?)`
	dropTerm = `DELETE FROM {t} WHERE k = ? AND bucket = ? AND v = ? AND id = ? AND etag = ?`
)

// drop removes rows of a state that is over. What it cannot remove lies there
// without harm: searches look at the record.
func (s *store) drop(ctx context.Context, table, id string, rows []row) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_ = s.index(ctx, table, dropTerm, id, rows) // see above
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
	r, old := w.Record, c.rows(w.Record.ID)
	all := rows(r, old)
	added := without(all, old)
	// The terms come first: a record without would never be found.
	if err := s.index(ctx, table, addTerm, r.ID, added); err != nil {
		return err
	}
	terms, indexed := columns(all)
	applied, there, err := s.swap(ctx, s.query(table,
		`UPDATE {r} SET created = ?, updated = ?, etag = ?, terms = ?, indexed = ?, metadata = ?, data = ?, fence = ? WHERE id = ? IF etag = ? AND fence = ?`,
		r.Created, r.Updated, r.ETag, terms, indexed, r.Metadata, r.Data, orNull(max(w.Fence, c.fence)), r.ID, orNull(c.etag), orNull(c.fence)).MapScanCASContext)
	switch {
	case err != nil:
		return err
	case !applied:
		s.drop(ctx, table, r.ID, added)
		c.etag = there
		return errAgain
	}
	s.drop(ctx, table, r.ID, without(old, all))
	return nil
}

// columns are the rows as the record has them.
func columns(all map[string]row) (terms, indexed map[string]string) {
	terms, indexed = make(map[string]string, len(all)), make(map[string]string, len(all))
	for key, r := range all {
		if key != self {
			terms[key] = r.value
		}
		indexed[key] = r.etag
	}
	return terms, indexed
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
	id, mark := w.Record.ID, 1+rand.Int64N(math.MaxInt64)
	var tried *state // that a try may have deleted
	err := s.retry(ctx, "delete", table, false, func(first bool) error {
		c, err := s.current(ctx, table, id, !first)
		if err != nil {
			return err
		}
		switch {
		case !c.there() && tried != nil && c.created == mark: // a try before did take place
			s.drop(ctx, table, id, without(tried.rows(id), nil))
			return nil
		case w.Check(c.fence) != nil:
			return w.Check(c.fence)
		case !c.there():
			return rpcerr.ErrNotFound
		case w.Match != "" && w.Match != c.etag:
			return rpcerr.ErrConflict
		}
		tried = c
		applied, _, err := s.swap(ctx, s.remove(table, w, c, mark))
		switch {
		case err == nil && !applied:
			err = errAgain
		case err == nil:
			s.drop(ctx, table, id, without(c.rows(id), nil))
		}
		return err
	})
	if errors.Is(err, driver.ErrNoTable) {
		err = rpcerr.ErrNotFound
	}
	return err
}

// remove deletes a record and leaves its fence, if it has one. For ten minutes
// it leaves a mark too, by which a deletion whose answer was lost knows itself.
func (s *store) remove(table string, w driver.Write, c *state, mark int64) conditional {
	b := s.session.Batch(gocql.LoggedBatch)
	b.Query(s.text(table, `UPDATE {r} USING TTL 600 SET created = ?, updated = ?, etag = ?, terms = ?, indexed = ?, metadata = ?, data = ?
		WHERE id = ? IF etag = ? AND fence = ?`),
		mark, nil, nil, nil, nil, nil, nil, w.Record.ID, c.etag, orNull(c.fence))
	if w.Fence != "" {
		b.Query(s.text(table, `UPDATE {r} SET fence = ? WHERE id = ?`), w.Fence, w.Record.ID) // Check has passed: none is higher
	}
	return func(ctx context.Context, found map[string]any) (bool, error) {
		applied, iter, err := b.MapExecCASContext(ctx, found)
		if iter != nil {
			err = errors.Join(err, iter.Close())
		}
		return applied, err
	}
}
