package srv

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Revoke implements Store.
func (s *sqlStore) Revoke(ctx context.Context, rs ...revocation) error {
	return s.change(ctx, "revoke", func(tx *sql.Tx, revision uint64) error {
		for _, r := range rs {
			if err := insertRevocation(ctx, tx, r, revision); err != nil {
				return err
			}
		}
		return nil
	})
}

// insertRevocation keeps r and ends the family of its sid.
func insertRevocation(ctx context.Context, tx *sql.Tx, r revocation, revision uint64) error {
	if r.sid != "" {
		if _, err := tx.ExecContext(ctx, `UPDATE grants SET revoked = 1 WHERE sid = ?`, r.sid); err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO revocations (jti, sid, account, before_s, expires_at, revision) VALUES (?, ?, ?, ?, ?, ?)`,
		r.jti, r.sid, r.account, r.before, r.expires, revision)
	return err
}

// AddKey implements Store.
func (s *sqlStore) AddKey(ctx context.Context, k signingKey) error {
	return s.change(ctx, "add signing key", func(tx *sql.Tx, revision uint64) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO signing_keys (slot, kid, private_key, starts_ms) VALUES (?, ?, ?, ?)`,
			k.slot, k.kid, k.private, k.starts.UnixMilli()); err != nil {
			return taken(err)
		}
		return keysChanged(ctx, tx, revision)
	})
}

// DropKeys implements Store.
func (s *sqlStore) DropKeys(ctx context.Context, below int64) error {
	return s.change(ctx, "drop signing keys", func(tx *sql.Tx, revision uint64) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM signing_keys WHERE slot < ?`, below); err != nil {
			return err
		}
		return keysChanged(ctx, tx, revision)
	})
}

func keysChanged(ctx context.Context, tx *sql.Tx, revision uint64) error {
	_, err := tx.ExecContext(ctx, `UPDATE feed SET signing = ? WHERE id = 1`, revision)
	return err
}

// Changes implements Store. One transaction sees one state.
func (s *sqlStore) Changes(ctx context.Context, since uint64) (*changes, error) {
	c := &changes{}
	var rules, keys uint64
	// Nearly always nothing changed: no transaction for that.
	err := s.db.QueryRowContext(ctx, `SELECT revision FROM feed WHERE id = 1`).Scan(&c.revision)
	if err == nil && (since == 0 || c.revision > since) {
		err = s.within(ctx, "read", func(tx *sql.Tx) error {
			if err := tx.QueryRowContext(ctx, `SELECT revision, rules, signing FROM feed WHERE id = 1`).Scan(&c.revision, &rules, &keys); err != nil {
				return err
			}
			if since == 0 || rules > since {
				if c.rules, err = selectRules(ctx, tx, since); err != nil {
					return err
				}
			}
			if c.keysNew = since == 0 || keys > since; c.keysNew {
				if c.keys, err = selectKeys(ctx, tx); err != nil {
					return err
				}
			}
			c.revocations, err = selectRevocations(ctx, tx, since)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("read changes: %w", err)
	}
	return c, nil
}

func selectKeys(ctx context.Context, tx *sql.Tx) ([]signingKey, error) {
	rows, err := tx.QueryContext(ctx, `SELECT slot, kid, private_key, starts_ms FROM signing_keys ORDER BY slot`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []signingKey
	for rows.Next() {
		var k signingKey
		var starts int64
		if err := rows.Scan(&k.slot, &k.kid, &k.private, &starts); err != nil {
			return nil, err
		}
		k.starts = time.UnixMilli(starts)
		found = append(found, k)
	}
	return found, rows.Err()
}

func selectRevocations(ctx context.Context, tx *sql.Tx, since uint64) ([]revocation, error) {
	rows, err := tx.QueryContext(ctx, `SELECT jti, sid, account, before_s, expires_at, revision FROM revocations WHERE revision > ? ORDER BY revision, id`, since)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []revocation
	for rows.Next() {
		var r revocation
		if err := rows.Scan(&r.jti, &r.sid, &r.account, &r.before, &r.expires, &r.revision); err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	return found, rows.Err()
}
