package srv

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/micro/go-platform/internal/rpcerr"
)

// CreateGrant implements Store.
func (s *sqlStore) CreateGrant(ctx context.Context, g *grant, c *code) error {
	return s.within(ctx, "create grant", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO grants (sid, account, client, scopes, created, expires_at, revoked) VALUES (?, ?, ?, ?, ?, ?, 0)`,
			g.sid, g.account, g.client, encode(g.scopes), g.created, g.expires); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO codes (hash, sid, redirect_uri, challenge, nonce, expires_at, redeemed) VALUES (?, ?, ?, ?, ?, ?, 0)`,
			c.hash, g.sid, c.redirect, c.challenge, c.nonce, c.expires)
		return err
	})
}

// Code implements Store.
func (s *sqlStore) Code(ctx context.Context, hash string) (*code, *grant, error) {
	c := &code{hash: hash}
	err := s.db.QueryRowContext(ctx, `SELECT sid, redirect_uri, challenge, nonce, expires_at, redeemed FROM codes WHERE hash = ?`, hash).
		Scan(&c.sid, &c.redirect, &c.challenge, &c.nonce, &c.expires, &c.redeemed)
	if err != nil {
		return nil, nil, fmt.Errorf("read code: %w", absent(err))
	}
	g, err := s.grant(ctx, c.sid)
	return c, g, err
}

// Redeem implements Store.
func (s *sqlStore) Redeem(ctx context.Context, hash, refresh string, now time.Time) error {
	return s.within(ctx, "redeem code", func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE codes SET redeemed = 1 WHERE hash = ? AND redeemed = 0 AND expires_at >= ?`, hash, now.Unix())
		if err := touched(r, err, rpcerr.ErrConflict); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO refresh_tokens (hash, sid, expires_at, used_ms)
			SELECT ?, g.sid, g.expires_at, 0 FROM grants g JOIN codes c ON c.sid = g.sid WHERE c.hash = ?`, refresh, hash)
		return err
	})
}

// Grant implements Store.
func (s *sqlStore) Grant(ctx context.Context, refresh string) (*grant, error) {
	var sid string
	if err := s.db.QueryRowContext(ctx, `SELECT sid FROM refresh_tokens WHERE hash = ?`, refresh).Scan(&sid); err != nil {
		return nil, fmt.Errorf("read refresh token: %w", absent(err))
	}
	return s.grant(ctx, sid)
}

func (s *sqlStore) grant(ctx context.Context, sid string) (*grant, error) {
	g := &grant{sid: sid}
	var scopes string
	err := s.db.QueryRowContext(ctx, `SELECT account, client, scopes, created, expires_at, revoked FROM grants WHERE sid = ?`, sid).
		Scan(&g.account, &g.client, &scopes, &g.created, &g.expires, &g.revoked)
	if err == nil {
		err = json.Unmarshal([]byte(scopes), &g.scopes)
	}
	if err != nil {
		return nil, fmt.Errorf("read grant: %w", absent(err))
	}
	return g, nil
}

// Rotate implements Store. Whoever writes used_ms first begins the grace; the
// row stays locked until its successor is there.
func (s *sqlStore) Rotate(ctx context.Context, old, fresh string, now time.Time, grace time.Duration) error {
	return s.within(ctx, "rotate refresh token", func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE refresh_tokens SET used_ms = ? WHERE hash = ? AND used_ms = 0`, now.UnixMilli(), old)
		if err := touched(r, err, rpcerr.ErrConflict); err != nil && !errors.Is(err, rpcerr.ErrConflict) {
			return err
		}
		var used, expires int64
		var sid string
		if err := tx.QueryRowContext(ctx, `SELECT sid, expires_at, used_ms FROM refresh_tokens WHERE hash = ?`+s.db.ForUpdate(), old).
			Scan(&sid, &expires, &used); err != nil {
			return absent(err)
		}
		if now.Sub(time.UnixMilli(used)) > grace {
			return rpcerr.ErrConflict
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO refresh_tokens (hash, sid, expires_at, used_ms) VALUES (?, ?, ?, 0)`, fresh, sid, expires)
		return err
	})
}
