package srv

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"

	pb "github.com/micro/go-platform/config/proto"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/sqlstore"
)

//go:embed sqlite/*.sql mysql/*.sql postgres/*.sql
var migrations embed.FS

// sqlStore is a store in a SQL database.
type sqlStore struct{ db *sqlstore.DB }

const (
	docColumns   = `id, revision, there, data, author, comment, updated, candidate, rollout`
	entryColumns = `revision, id, path, action, author, comment, at, settled, there, data, rollout`
	nextRevision = `UPDATE revision SET now = now + 1 WHERE id = 1`
	getRevision  = `SELECT now FROM revision WHERE id = 1`
	getDoc       = `SELECT ` + docColumns + ` FROM configs WHERE id = ?`
	changedDocs  = `SELECT ` + docColumns + ` FROM configs WHERE revision > ?`
	insertEntry  = `INSERT INTO changes (` + entryColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	getParents   = `SELECT name, parent FROM namespaces`
	entryAt      = `SELECT ` + entryColumns + ` FROM changes WHERE id = ? AND revision <= ? AND (settled OR action = 'rollout' AND revision = ?) ORDER BY revision DESC LIMIT 1`
)

// write runs f in a transaction in which it is the only writer: the row of the
// revision is locked first.
func (s *sqlStore) write(ctx context.Context, f func(tx *sql.Tx, revision int64) error) (revision int64, err error) {
	err = s.db.Within(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, nextRevision); err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, getRevision).Scan(&revision); err != nil {
			return err
		}
		return f(tx, revision)
	})
	if err != nil {
		return 0, err
	}
	return revision, nil
}

// Touch implements store.
func (s *sqlStore) Touch(ctx context.Context) error {
	_, err := s.write(ctx, func(*sql.Tx, int64) error { return nil })
	return err
}

// Write implements store.
func (s *sqlStore) Write(ctx context.Context, id string, change func(*doc, int64) (*doc, *entry, error)) (int64, error) {
	revision, err := s.write(ctx, func(tx *sql.Tx, revision int64) error {
		old, err := scanDoc(tx.QueryRowContext(ctx, getDoc, id))
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		d, e, err := change(old, revision)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, s.db.Replace("configs", strings.Split(docColumns, ", ")...), id, revision, d.there, string(d.data), d.author, d.comment, d.updated,
			string(d.candidate), encodeRollout(d.rollout)); err != nil {
			return err
		}
		return insert(ctx, tx, e, revision)
	})
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", id, err)
	}
	return revision, nil
}

func insert(ctx context.Context, tx *sql.Tx, e *entry, revision int64) error {
	_, err := tx.ExecContext(ctx, insertEntry, revision, e.id, e.path, e.action, e.author, e.comment, e.at, e.settled, e.there,
		string(e.data), encodeRollout(e.rollout))
	return err
}

// Inherit implements store.
func (s *sqlStore) Inherit(ctx context.Context, namespace, parent string, e *entry, check func(map[string]string) error) (int64, error) {
	revision, err := s.write(ctx, func(tx *sql.Tx, revision int64) error {
		rows, err := tx.QueryContext(ctx, getParents)
		if err != nil {
			return err
		}
		parents, err := scanParents(rows)
		if err != nil {
			return err
		}
		if err := check(parents); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, s.db.Replace("namespaces", "name", "parent"), namespace, parent); err != nil {
			return err
		}
		return insert(ctx, tx, e, revision)
	})
	if err != nil {
		return 0, fmt.Errorf("inherit: %w", err)
	}
	return revision, nil
}

// Revision implements store.
func (s *sqlStore) Revision(ctx context.Context) (revision int64, err error) {
	if err := s.db.QueryRowContext(ctx, getRevision).Scan(&revision); err != nil {
		return 0, fmt.Errorf("read revision: %w", err)
	}
	return revision, nil
}

// Changed implements store.
func (s *sqlStore) Changed(ctx context.Context, since int64) ([]*doc, error) {
	rows, err := s.db.QueryContext(ctx, changedDocs, since)
	if err != nil {
		return nil, fmt.Errorf("read configs: %w", err)
	}
	defer rows.Close() // rows.Err has told
	var found []*doc
	for rows.Next() {
		d, err := scanDoc(rows)
		if err != nil {
			return nil, fmt.Errorf("read configs: %w", err)
		}
		found = append(found, d)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read configs: %w", err)
	}
	return found, nil
}

// Parents implements store.
func (s *sqlStore) Parents(ctx context.Context) (map[string]string, error) {
	rows, err := s.db.QueryContext(ctx, getParents)
	if err != nil {
		return nil, fmt.Errorf("read namespaces: %w", err)
	}
	parents, err := scanParents(rows)
	if err != nil {
		return nil, fmt.Errorf("read namespaces: %w", err)
	}
	return parents, nil
}

func scanParents(rows *sql.Rows) (map[string]string, error) {
	defer rows.Close() // rows.Err has told
	parents := make(map[string]string)
	for rows.Next() {
		var name, parent string
		if err := rows.Scan(&name, &parent); err != nil {
			return nil, err
		}
		parents[name] = parent
	}
	return parents, rows.Err()
}

// At implements store.
func (s *sqlStore) At(ctx context.Context, id string, revision int64) (*entry, error) {
	e, err := scanEntry(s.db.QueryRowContext(ctx, entryAt, id, revision, revision))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%s at revision %d: %w", id, revision, rpcerr.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s at revision %d: %w", id, revision, err)
	}
	return e, nil
}

// Log implements store.
func (s *sqlStore) Log(ctx context.Context, q logQuery) ([]*entry, error) {
	query, args := logStatement(q)
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	defer rows.Close() // rows.Err has told
	var found []*entry
	for rows.Next() {
		e, err := scanEntry(rows)
		if err != nil {
			return nil, fmt.Errorf("read log: %w", err)
		}
		found = append(found, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	return found, nil
}

func logStatement(q logQuery) (string, []any) {
	var where []string
	var args []any
	add := func(condition string, arg any) {
		where, args = append(where, condition), append(args, arg)
	}
	if q.id != "" {
		add("id = ?", q.id)
	}
	if q.author != "" {
		add("author = ?", q.author)
	}
	if q.from > 0 {
		add("at >= ?", q.from)
	}
	if q.to > 0 {
		add("at < ?", q.to)
	}
	query := `SELECT ` + entryColumns + ` FROM changes`
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	query += " ORDER BY revision"
	if q.reverse {
		query += " DESC"
	}
	return query + " LIMIT ? OFFSET ?", append(args, q.limit, q.offset)
}

type scanner interface{ Scan(to ...any) error }

func scanDoc(row scanner) (*doc, error) {
	d, rollout := &doc{}, ""
	if err := row.Scan(&d.id, &d.revision, &d.there, &d.data, &d.author, &d.comment, &d.updated, &d.candidate, &rollout); err != nil {
		return nil, err
	}
	var err error
	d.rollout, err = decodeRollout(rollout)
	return d, err
}

func scanEntry(row scanner) (*entry, error) {
	e, rollout := &entry{}, ""
	if err := row.Scan(&e.revision, &e.id, &e.path, &e.action, &e.author, &e.comment, &e.at, &e.settled, &e.there, &e.data, &rollout); err != nil {
		return nil, err
	}
	var err error
	e.rollout, err = decodeRollout(rollout)
	return e, err
}

func encodeRollout(r *pb.RolloutState) string {
	if r == nil {
		return ""
	}
	return protojson.Format(r)
}

func decodeRollout(s string) (*pb.RolloutState, error) {
	if s == "" {
		return nil, nil
	}
	r := &pb.RolloutState{}
	if err := protojson.Unmarshal([]byte(s), r); err != nil {
		return nil, fmt.Errorf("rollout: %w", err)
	}
	return r, nil
}
