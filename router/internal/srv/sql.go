package srv

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"strings"

	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/sqlstore"
)

//go:embed sqlite/*.sql mysql/*.sql postgres/*.sql
var migrations embed.FS

// What one database may hold: it is kept in the memory of every router-srv.
const (
	maxSets   = 10_000 // rules and labels
	maxLimits = 10_000
)

// sqlStore is a Store in a SQL database.
type sqlStore struct{ db *sqlstore.DB }

const columns = `id, service, version, weight, priority, label, value, fallback`

// write counts a change and runs f in one transaction. Counting first makes
// writers wait for each other, so that f sees what the one before it did.
func (s *sqlStore) write(ctx context.Context, doing string, f func(*sql.Tx) error) error {
	err := s.db.Within(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE router_changes SET number = number + 1`); err != nil {
			return err
		}
		return f(tx)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// count is a SELECT COUNT within a transaction.
func count(ctx context.Context, tx *sql.Tx, text string, args ...any) (n int, err error) {
	err = tx.QueryRowContext(ctx, text, args...).Scan(&n)
	return n, err
}

// room refuses what is there already and what there is no room for.
func room(ctx context.Context, tx *sql.Tx, table string, most int, where string, args ...any) error {
	if n, err := count(ctx, tx, `SELECT COUNT(*) FROM `+table+where, args...); err != nil || n > 0 {
		return errors.Join(err, when(n > 0, rpcerr.ErrExists))
	}
	n, err := count(ctx, tx, `SELECT COUNT(*) FROM `+table)
	if n >= most {
		return fmt.Errorf("%w: %d %s already", rpcerr.ErrLimited, n, table)
	}
	return err
}

func when(holds bool, err error) error {
	if holds {
		return err
	}
	return nil
}

// Changes implements Store.
func (s *sqlStore) Changes(ctx context.Context) (n int64, err error) {
	if err := s.db.QueryRowContext(ctx, `SELECT number FROM router_changes`).Scan(&n); err != nil {
		return 0, fmt.Errorf("look for changes: %w", err)
	}
	return n, nil
}

// CreateSet implements Store.
func (s *sqlStore) CreateSet(ctx context.Context, v set) error {
	return s.write(ctx, "create "+string(v.kind)+" "+v.id, func(tx *sql.Tx) error {
		if err := room(ctx, tx, "sets", maxSets, ` WHERE kind = ? AND id = ?`, v.kind, v.id); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO sets (kind, `+columns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			v.kind, v.id, v.service, v.version, v.weight, v.priority, v.key, v.value, v.fallback)
		return err
	})
}

// ReadSet implements Store.
func (s *sqlStore) ReadSet(ctx context.Context, k kind, id string) (set, error) {
	row := s.db.QueryRowContext(ctx, `SELECT `+columns+` FROM sets WHERE kind = ? AND id = ?`, k, id)
	v, err := scanSet(row, k)
	if errors.Is(err, sql.ErrNoRows) {
		err = rpcerr.ErrNotFound
	}
	if err != nil {
		return set{}, fmt.Errorf("read %s %s: %w", k, id, err)
	}
	return v, nil
}

func scanSet(row interface{ Scan(...any) error }, k kind) (set, error) {
	v := set{kind: k}
	err := row.Scan(&v.id, &v.service, &v.version, &v.weight, &v.priority, &v.key, &v.value, &v.fallback)
	return v, err
}

// UpdateSet implements Store.
func (s *sqlStore) UpdateSet(ctx context.Context, v set) error {
	return s.write(ctx, "update "+string(v.kind)+" "+v.id, func(tx *sql.Tx) error {
		// MySQL does not count rows that stay the same as affected.
		n, err := count(ctx, tx, `SELECT COUNT(*) FROM sets WHERE kind = ? AND id = ?`, v.kind, v.id)
		if err != nil || n == 0 {
			return errors.Join(err, when(n == 0, rpcerr.ErrNotFound))
		}
		_, err = tx.ExecContext(ctx, `UPDATE sets SET service = ?, version = ?, weight = ?, priority = ?, label = ?, value = ?,
			fallback = ? WHERE kind = ? AND id = ?`,
			v.service, v.version, v.weight, v.priority, v.key, v.value, v.fallback, v.kind, v.id)
		return err
	})
}

// DeleteSet implements Store.
func (s *sqlStore) DeleteSet(ctx context.Context, k kind, id string) error {
	return s.write(ctx, "delete "+string(k)+" "+id, func(tx *sql.Tx) error {
		return deleted(tx.ExecContext(ctx, `DELETE FROM sets WHERE kind = ? AND id = ?`, k, id))
	})
}

func deleted(result sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	return errors.Join(err, when(n == 0, rpcerr.ErrNotFound))
}

// SearchSets implements Store.
func (s *sqlStore) SearchSets(ctx context.Context, q query) ([]set, error) {
	where, args := []string{"kind = ?"}, []any{q.kind}
	for _, c := range []struct{ column, value string }{{"service", q.service}, {"version", q.version}, {"label", q.key}} {
		if c.value != "" {
			where, args = append(where, c.column+" = ?"), append(args, c.value)
		}
	}
	text := `SELECT ` + columns + ` FROM sets WHERE ` + strings.Join(where, " AND ") + ` ORDER BY priority, id LIMIT ? OFFSET ?`
	rows, err := s.db.QueryContext(ctx, text, append(args, q.limit, q.offset)...)
	if err != nil {
		return nil, fmt.Errorf("search %ss: %w", q.kind, err)
	}
	defer rows.Close()
	var found []set
	for rows.Next() {
		v, err := scanSet(rows, q.kind)
		if err != nil {
			return nil, fmt.Errorf("search %ss: %w", q.kind, err)
		}
		found = append(found, v)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("search %ss: %w", q.kind, err)
	}
	return found, nil
}
