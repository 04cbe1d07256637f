package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/db/internal/srv/driver"
)

// outbox is the table of changes to be published. Its name is for db-srv alone: a
// database may be shared with other programs.
const outbox = "micro_db_outbox"

// note puts the change into the outbox, in the order of the changes of its
// record: others wait for the lock on that.
func (t *tx) note(w driver.Write, action string) error {
	if !w.Outbox {
		return nil
	}
	etag := w.Record.ETag
	if action == db.Deleted {
		etag = ""
	}
	_, err := t.ExecContext(t.ctx, `INSERT INTO `+outbox+` (id, tbl, record, action, etag, happened, metadata) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		w.Record.ETag, t.table, w.Record.ID, action, etag, w.Record.Updated, blob(w.Record.Metadata))
	return err
}

func (s *store) Pending(ctx context.Context, limit int) ([]driver.Change, error) {
	found, err := s.pending(ctx, limit)
	err = s.wrap(ctx, "read outbox", err)
	if errors.Is(err, errNoTable) && s.fixed {
		err = fmt.Errorf("%w: %w", driver.ErrNoTable, err)
	}
	return found, err
}

func (s *store) pending(ctx context.Context, limit int) (found []driver.Change, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT seq, id, tbl, record, action, etag, happened, metadata FROM `+outbox+` ORDER BY seq LIMIT ?`, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	for rows.Next() {
		var c driver.Change
		if err := rows.Scan(&c.Seq, &c.ID, &c.Table, &c.Record, &c.Action, &c.ETag, &c.At, &c.Metadata); err != nil {
			return nil, err
		}
		found = append(found, c)
	}
	return found, rows.Err()
}

// Remove removes the changes in one statement. Another relay may have been
// quicker.
func (s *store) Remove(ctx context.Context, changes []driver.Change) error {
	if len(changes) == 0 {
		return nil
	}
	args := make([]any, len(changes))
	for i, c := range changes {
		args[i] = c.Seq
	}
	text := "DELETE FROM " + outbox + " WHERE seq IN (?" + strings.Repeat(", ?", len(args)-1) + ")"
	return s.wrap(ctx, "clear outbox", s.db.Alone(ctx, func() error {
		_, err := s.db.ExecContext(ctx, text, args...)
		return err
	}))
}
