package srv

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/sqlstore"
)

//go:embed sqlite/*.sql mysql/*.sql postgres/*.sql
var migrations embed.FS

// sqlStore is a Store in a SQL database.
type sqlStore struct{ db *sqlstore.DB }

// tries of a transaction that the database gave up for another one's sake.
const tries = 5

// within runs f in a transaction, which is durable when within returns nil.
func (s *sqlStore) within(ctx context.Context, doing string, f func(tx *sql.Tx) error) error {
	var err error
	for range tries {
		if err = s.db.Within(ctx, f); !sqlstore.IsRace(err) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// change is within for what watchers see. It locks the feed first, so that
// revisions become visible in their order, whichever instance made them.
func (s *sqlStore) change(ctx context.Context, doing string, f func(tx *sql.Tx, revision uint64) error) error {
	return s.within(ctx, doing, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE feed SET revision = revision + 1 WHERE id = 1`); err != nil {
			return err
		}
		var revision uint64
		if err := tx.QueryRowContext(ctx, `SELECT revision FROM feed WHERE id = 1`).Scan(&revision); err != nil {
			return err
		}
		return f(tx, revision)
	})
}

// taken makes the error of a key that is there already ErrExists.
func taken(err error) error {
	if sqlstore.IsDuplicate(err) {
		return rpcerr.ErrExists
	}
	return err
}

// absent makes the error of a row that is not there ErrNotFound.
func absent(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return rpcerr.ErrNotFound
	}
	return err
}

// touched makes a statement that found no row fail with the error.
func touched(r sql.Result, err, none error) error {
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return none
}

func encode(v any) string {
	b, _ := json.Marshal(v) // strings, and lists and maps of them, cannot fail
	return string(b)
}

// Setting implements Store.
func (s *sqlStore) Setting(ctx context.Context, name string) (value string, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = ?`, name).Scan(&value)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read setting %s: %w", name, err)
	}
	return value, nil
}

// Begin implements Store.
func (s *sqlStore) Begin(ctx context.Context, admin *account, settings map[string]string, rules []*pb.Rule) error {
	return s.change(ctx, "first start", func(tx *sql.Tx, revision uint64) error {
		for name, value := range settings {
			if _, err := tx.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES (?, ?)`, name, value); err != nil {
				return taken(err)
			}
		}
		for _, r := range rules {
			if err := errors.Join(writeRule(ctx, tx, r, revision), rulesChanged(ctx, tx, revision, r.Id, nil)); err != nil {
				return err
			}
		}
		return insertAccount(ctx, tx, admin)
	})
}

// Prune implements Store. Redeemed codes stay as long as their tokens may, so
// that a replay is seen.
func (s *sqlStore) Prune(ctx context.Context, now time.Time) error {
	for _, statement := range []string{
		`DELETE FROM revocations WHERE expires_at < ?`,
		`DELETE FROM refresh_tokens WHERE expires_at < ?`,
		`DELETE FROM codes WHERE expires_at < ? AND (redeemed = 0 OR sid NOT IN (SELECT sid FROM grants))`,
		`DELETE FROM grants WHERE expires_at < ?`,
	} {
		if _, err := s.db.ExecContext(ctx, statement, now.Unix()); err != nil {
			return fmt.Errorf("prune: %w", err)
		}
	}
	if _, err := s.db.ExecContext(ctx, `DELETE FROM proven WHERE seen < ?`, now.Add(-familiarFor).Unix()); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	if _, err := s.db.ExecContext(ctx, `DELETE FROM decisions WHERE updated < ?`, now.Add(-keepDenied).Unix()); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	return s.within(ctx, "prune", func(tx *sql.Tx) error { return pruneChanges(ctx, tx, now) })
}
