package sqldb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/db/internal/srv/driver"
)

// The table that changes are put into, by a name that nobody else has, and that
// of earlier releases.
const (
	outbox      = "micro_db_outbox"
	olderOutbox = "outbox"
)

// outboxes returns the tables that may hold changes, the one to write to last.
// That of an earlier release stays: it may still run beside this one. Where
// tables are not ours to create it will do.
func (s *store) outboxes(ctx context.Context) ([]string, error) {
	older, err := s.isOutbox(ctx, olderOutbox)
	if err != nil || !older {
		return []string{outbox}, err
	}
	if newer, err := s.isOutbox(ctx, outbox); err != nil || newer {
		return []string{olderOutbox, outbox}, err
	}
	return []string{olderOutbox}, nil
}

// isOutbox tells whether a table is one of ours by its columns: a table of
// somebody else may have the older name.
func (s *store) isOutbox(ctx context.Context, table string) (bool, error) {
	columns, err := s.db.Columns(ctx, table)
	if err != nil {
		return false, fmt.Errorf("look for outbox: %w", err)
	}
	ours := []string{"action", "etag", "happened", "id", "metadata", "record", "seq", "tbl"}
	return slices.Equal(slices.Sorted(maps.Keys(columns)), ours), nil
}

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
	to := t.store.changes[len(t.store.changes)-1]
	_, err := t.ExecContext(t.ctx, `INSERT INTO `+to+` (id, tbl, record, action, etag, happened, metadata) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		w.Record.ETag, t.table, w.Record.ID, action, etag, w.Record.Updated, blob(w.Record.Metadata))
	return err
}

func (s *store) Pending(ctx context.Context, limit int) (found []driver.Change, err error) {
	for _, table := range s.changes {
		found, err = s.pending(ctx, table, limit)
		if err = s.wrap(ctx, "read outbox", err); err != nil || len(found) > 0 {
			break
		}
	}
	if errors.Is(err, errNoTable) && s.fixed {
		err = fmt.Errorf("%w: %w", driver.ErrNoTable, err)
	}
	return found, err
}

func (s *store) pending(ctx context.Context, table string, limit int) (found []driver.Change, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT seq, id, tbl, record, action, etag, happened, metadata FROM `+table+` ORDER BY seq LIMIT ?`, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	for rows.Next() {
		c := driver.Change{Outbox: table}
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
	text := "DELETE FROM " + changes[0].Outbox + " WHERE seq IN (?" + strings.Repeat(", ?", len(args)-1) + ")"
	return s.wrap(ctx, "clear outbox", s.db.Alone(ctx, func() error {
		_, err := s.db.ExecContext(ctx, text, args...)
		return err
	}))
}
