package sqldb

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/db/internal/srv/driver"
	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/rpcerr"
)

// maxTries bounds how often a transaction that lost a race is begun again.
const maxTries = 10

// transaction runs work in a transaction, again when it lost a race, and after
// creating the table when it was missing. Work prepares nothing: that may need
// a second connection.
func (s *store) transaction(ctx context.Context, doing, table string, creates bool, w driver.Write, work func(*tx) error) error {
	wait := backoff.Backoff{Min: 2 * time.Millisecond, Max: 50 * time.Millisecond}
	created := false
	creates = creates || w.Fence != "" // the table of fences may not be there alone
	for try := 1; ; try++ {
		err := s.wrap(ctx, doing, s.once(ctx, table, w, work))
		switch {
		case errors.Is(err, errNoTable) && creates && !created && !s.fixed:
			created = true
			if err := s.createTable(ctx, table); err != nil {
				return err
			}
		case (errors.Is(err, errAgain) || errors.Is(err, errTooMany)) && try < maxTries:
			if err := wait.Wait(ctx); err != nil {
				return fmt.Errorf("%s: %w", doing, err)
			}
		default:
			return err
		}
	}
}

func (s *store) once(ctx context.Context, table string, w driver.Write, work func(*tx) error) error {
	p, done := s.cache.use(table)
	defer done()
	t := &tx{ctx: ctx, store: s, table: table}
	if err := t.prepare(p, w.Fence != ""); err != nil {
		return err
	}
	return s.db.Alone(ctx, func() (err error) {
		if t.Tx, err = s.db.BeginTx(ctx, &sql.TxOptions{Isolation: s.dialect.isolation}); err != nil {
			return err
		}
		err = t.pass(w)
		if err == nil {
			err = work(t)
		}
		if err != nil {
			_ = t.Rollback() // the first error is the one to know
			return err
		}
		return t.Commit()
	})
}

// tx is one transaction with the statements of its table.
type tx struct {
	*sql.Tx
	ctx   context.Context
	store *store
	table string

	lock, insert, update, remove, addTerm, addTerms, dropTerms *sql.Stmt

	raise, highest *sql.Stmt // of a fenced one
}

// termsAtOnce is how many terms one statement inserts.
const termsAtOnce = 8

type statementAt struct {
	to   **sql.Stmt
	text string
}

func (t *tx) prepare(p *prepared, fenced bool) error {
	const terms = "INSERT INTO t_%s (id, k, v) VALUES (?, ?, ?)"
	all := []statementAt{
		{&t.lock, "SELECT created, etag, metadata FROM r_%s WHERE id = ?" + t.store.dialect.forUpdate},
		{&t.insert, "INSERT INTO r_%s (id, created, updated, etag, metadata, data) VALUES (?, ?, ?, ?, ?, ?)"},
		{&t.update, "UPDATE r_%s SET updated = ?, etag = ?, metadata = ?, data = ? WHERE id = ?"},
		{&t.remove, "DELETE FROM r_%s WHERE id = ?"},
		{&t.addTerm, terms},
		{&t.addTerms, terms + strings.Repeat(", (?, ?, ?)", termsAtOnce-1)},
		{&t.dropTerms, "DELETE FROM t_%s WHERE id = ?"},
	}
	if fenced {
		all = append(all, statementAt{&t.raise, t.store.dialect.raise}, statementAt{&t.highest, "SELECT fence FROM f_%s WHERE id = ?"})
	}
	for _, s := range all {
		stmt, err := p.get(t.ctx, fmt.Sprintf(s.text, t.table))
		if err != nil {
			return err
		}
		*s.to = stmt
	}
	return nil
}

func (t *tx) exec(s *sql.Stmt, args ...any) error {
	_, err := t.StmtContext(t.ctx, s).ExecContext(t.ctx, args...)
	return err
}

// pass keeps what is stale out: it holds the lock on the fence until the end of
// the transaction, and takes the token back if that fails.
func (t *tx) pass(w driver.Write) error {
	if w.Fence == "" {
		return nil
	}
	if err := t.exec(t.raise, w.Record.ID, w.Fence); err != nil {
		return err
	}
	var highest string
	if err := t.StmtContext(t.ctx, t.highest).QueryRowContext(t.ctx, w.Record.ID).Scan(&highest); err != nil {
		return err
	}
	return w.Check(highest)
}

func (s *store) Create(ctx context.Context, table string, w driver.Write) error {
	err := s.transaction(ctx, "create", table, true, w, func(t *tx) error {
		return t.create(w)
	})
	if errors.Is(err, errDuplicate) {
		return rpcerr.ErrExists
	}
	return err
}

func (t *tx) create(w driver.Write) error {
	r := w.Record
	if err := t.exec(t.insert, r.ID, r.Created, r.Updated, r.ETag, blob(r.Metadata), blob(r.Data)); err != nil {
		return err
	}
	if err := t.terms(r); err != nil {
		return err
	}
	return t.note(w, db.Created)
}

// blob keeps an empty value from becoming NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func (t *tx) terms(r *driver.Record) error {
	var args []any
	for _, term := range r.Terms {
		args = append(args, r.ID, term.Key, term.Value)
		if len(args) == 3*termsAtOnce {
			if err := t.exec(t.addTerms, args...); err != nil {
				return err
			}
			args = args[:0]
		}
	}
	for ; len(args) > 0; args = args[3:] {
		if err := t.exec(t.addTerm, args[:3]...); err != nil {
			return err
		}
	}
	return nil
}

// find locks the record and checks that it is the one to be changed.
func (t *tx) find(w driver.Write) (created int64, metadata []byte, err error) {
	var etag string
	err = t.StmtContext(t.ctx, t.lock).QueryRowContext(t.ctx, w.Record.ID).Scan(&created, &etag, &metadata)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		err = rpcerr.ErrNotFound
	case err == nil && w.Match != "" && w.Match != etag:
		err = rpcerr.ErrConflict
	}
	return created, metadata, err
}

func (s *store) Update(ctx context.Context, table string, w driver.Write) (isNew bool, err error) {
	begun := w.Record.Created
	err = s.transaction(ctx, "update", table, w.Upsert, w, func(t *tx) error {
		w.Record.Created, isNew = begun, false
		created, metadata, err := t.find(w)
		if errors.Is(err, rpcerr.ErrNotFound) && w.Upsert {
			isNew = true
			if err = t.create(w); err != nil && errors.Is(s.dialect.classify(err), errDuplicate) {
				err = fmt.Errorf("%w: %w", errAgain, err) // another created it meanwhile
			}
			return err
		}
		if err != nil {
			return err
		}
		w.Record.Created = created
		return t.change(w, metadata)
	})
	if errors.Is(err, driver.ErrNoTable) && !w.Upsert {
		err = rpcerr.ErrNotFound
	}
	return isNew, err
}

func (t *tx) change(w driver.Write, metadata []byte) error {
	r := w.Record
	if err := t.exec(t.update, r.Updated, r.ETag, blob(r.Metadata), blob(r.Data), r.ID); err != nil {
		return err
	}
	if !bytes.Equal(metadata, r.Metadata) { // else the terms are the same
		if err := t.exec(t.dropTerms, r.ID); err != nil {
			return err
		}
		if err := t.terms(r); err != nil {
			return err
		}
	}
	return t.note(w, db.Updated)
}

func (s *store) Delete(ctx context.Context, table string, w driver.Write) error {
	err := s.transaction(ctx, "delete", table, false, w, func(t *tx) error {
		if _, _, err := t.find(w); err != nil {
			return err
		}
		if err := t.exec(t.remove, w.Record.ID); err != nil {
			return err
		}
		if err := t.exec(t.dropTerms, w.Record.ID); err != nil {
			return err
		}
		return t.note(w, db.Deleted)
	})
	if errors.Is(err, driver.ErrNoTable) {
		err = rpcerr.ErrNotFound
	}
	return err
}
