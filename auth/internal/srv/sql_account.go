package srv

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	accountColumns = `id, client_id, type, secret, metadata, scopes, roles, redirect_uris, disabled, created, updated, valid_from`
	selectAccount  = `SELECT ` + accountColumns + ` FROM accounts WHERE id = ?`
	selectClient   = `SELECT ` + accountColumns + ` FROM accounts WHERE client_id = ?`
	createAccount  = `INSERT INTO accounts (` + accountColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	updateAccount  = `UPDATE accounts SET type = ?, secret = ?, metadata = ?, scopes = ?, roles = ?, redirect_uris = ?, disabled = ?, updated = ?, valid_from = ? WHERE id = ?`
)

// CreateAccount implements Store.
func (s *sqlStore) CreateAccount(ctx context.Context, a *account) error {
	return s.within(ctx, "create account "+a.id, func(tx *sql.Tx) error { return insertAccount(ctx, tx, a) })
}

func insertAccount(ctx context.Context, tx *sql.Tx, a *account) error {
	_, err := tx.ExecContext(ctx, createAccount, a.id, a.clientID, a.kind, a.secret, encode(a.metadata),
		encode(a.scopes), encode(a.roles), encode(a.redirects), a.disabled, a.created, a.updated, a.validFrom)
	return taken(err)
}

// Account implements Store.
func (s *sqlStore) Account(ctx context.Context, id string) (*account, error) {
	a, err := scanAccount(s.db.QueryRowContext(ctx, selectAccount, id))
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", id, err)
	}
	return a, nil
}

// AccountOfClient implements Store.
func (s *sqlStore) AccountOfClient(ctx context.Context, clientID string) (*account, error) {
	a, err := scanAccount(s.db.QueryRowContext(ctx, selectClient, clientID))
	if err != nil {
		return nil, fmt.Errorf("client %s: %w", clientID, err)
	}
	return a, nil
}

func scanAccount(row interface{ Scan(...any) error }) (*account, error) {
	a := &account{}
	var metadata, scopes, roles, redirects string
	if err := row.Scan(&a.id, &a.clientID, &a.kind, &a.secret, &metadata, &scopes, &roles, &redirects,
		&a.disabled, &a.created, &a.updated, &a.validFrom); err != nil {
		return nil, absent(err)
	}
	return a, errors.Join(
		json.Unmarshal([]byte(metadata), &a.metadata), json.Unmarshal([]byte(scopes), &a.scopes),
		json.Unmarshal([]byte(roles), &a.roles), json.Unmarshal([]byte(redirects), &a.redirects),
	)
}

// UpdateAccount implements Store.
func (s *sqlStore) UpdateAccount(ctx context.Context, id string, expires int64, edit func(*account) error) (a *account, err error) {
	err = s.change(ctx, "update account "+id, func(tx *sql.Tx, revision uint64) error {
		if a, err = scanAccount(tx.QueryRowContext(ctx, selectAccount+s.db.ForUpdate(), id)); err != nil {
			return err
		}
		before := a.validFrom
		if err := edit(a); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, updateAccount, a.kind, a.secret, encode(a.metadata), encode(a.scopes),
			encode(a.roles), encode(a.redirects), a.disabled, a.updated, a.validFrom, a.id); err != nil {
			return err
		}
		if a.validFrom == before {
			return nil
		}
		return revokeAccount(ctx, tx, id, a.validFrom, expires, revision)
	})
	return a, err
}

// DeleteAccount implements Store.
func (s *sqlStore) DeleteAccount(ctx context.Context, id string, before, expires int64) error {
	return s.change(ctx, "delete account "+id, func(tx *sql.Tx, revision uint64) error {
		a, err := scanAccount(tx.QueryRowContext(ctx, selectAccount+s.db.ForUpdate(), id))
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM accounts WHERE id = ?`, id); err != nil {
			return err
		}
		return revokeAccount(ctx, tx, id, max(before, a.validFrom+1), expires, revision)
	})
}

// revokeAccount ends the tokens of an account, and those of others that it was
// given as their client.
func revokeAccount(ctx context.Context, tx *sql.Tx, id string, before, expires int64, revision uint64) error {
	if err := insertRevocation(ctx, tx, revocation{account: id, before: before, expires: expires}, revision); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO revocations (jti, sid, account, before_s, expires_at, revision)
		SELECT '', sid, '', 0, ?, ? FROM grants WHERE client = ? AND revoked = 0 AND created < ?`, expires, revision, id, before); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE grants SET revoked = 1 WHERE (client = ? OR account = ?) AND created < ?`, id, id, before)
	return err
}

// Prove implements Store.
func (s *sqlStore) Prove(ctx context.Context, place string, at time.Time) error {
	if _, err := s.db.ExecContext(ctx, s.db.Replace("proven", "place", "seen"), place, at.Unix()); err != nil {
		return fmt.Errorf("note a proven secret: %w", err)
	}
	return nil
}

// Proven implements Store.
func (s *sqlStore) Proven(ctx context.Context, place string, since time.Time) (bool, error) {
	var n int
	if err := s.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM proven WHERE place = ? AND seen >= ?`, place, since.Unix()).Scan(&n); err != nil {
		return false, fmt.Errorf("look for a proven secret: %w", err)
	}
	return n > 0, nil
}

// SearchAccounts implements Store.
func (s *sqlStore) SearchAccounts(ctx context.Context, clientID, kind string, limit, offset int64) ([]*account, error) {
	var where []string
	var args []any
	if clientID != "" {
		where, args = append(where, "client_id = ?"), append(args, clientID)
	}
	if kind != "" {
		where, args = append(where, "type = ?"), append(args, kind)
	}
	query := `SELECT ` + accountColumns + ` FROM accounts`
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	rows, err := s.db.QueryContext(ctx, query+" ORDER BY id LIMIT ? OFFSET ?", append(args, limit, offset)...)
	if err != nil {
		return nil, fmt.Errorf("search accounts: %w", err)
	}
	defer rows.Close()
	var found []*account
	for rows.Next() {
		a, err := scanAccount(rows)
		if err != nil {
			return nil, fmt.Errorf("search accounts: %w", err)
		}
		found = append(found, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("search accounts: %w", err)
	}
	return found, nil
}
