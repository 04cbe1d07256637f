package srv

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// expireChunk is how many spans one statement removes, so that none holds the
// database for long.
const expireChunk = 1000

func (s *sqlStore) Expire(ctx context.Context, before, most int64) (int64, error) {
	removed, err := s.removeUpTo(ctx, before-1)
	if err != nil {
		return removed, fmt.Errorf("expire spans: %w", err)
	}
	var held int64
	if err := s.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM spans`).Scan(&held); err != nil {
		return removed, fmt.Errorf("count spans: %w", err)
	}
	if held <= most {
		return removed, nil
	}
	var last int64
	err = s.db.QueryRowContext(ctx, `SELECT received FROM spans ORDER BY received LIMIT 1 OFFSET ?`, held-most-1).Scan(&last)
	if err != nil {
		return removed, fmt.Errorf("expire spans: %w", err)
	}
	more, err := s.removeUpTo(ctx, last)
	if err != nil {
		err = fmt.Errorf("expire spans: %w", err)
	}
	return removed + more, err
}

// removeUpTo removes what was received until last, chunk by chunk.
func (s *sqlStore) removeUpTo(ctx context.Context, last int64) (removed int64, err error) {
	for done := false; !done; {
		upTo := last
		err := s.db.QueryRowContext(ctx, `SELECT received FROM spans WHERE received <= ? ORDER BY received LIMIT 1 OFFSET ?`,
			last, expireChunk-1).Scan(&upTo)
		done = errors.Is(err, sql.ErrNoRows)
		if err != nil && !done {
			return removed, err
		}
		result, err := s.db.ExecContext(ctx, `DELETE FROM spans WHERE received <= ?`, upTo)
		if err != nil {
			return removed, err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return removed, err
		}
		removed += n
	}
	return removed, nil
}

// retention is the one background loop of the service.
type retention struct {
	store store
	age   time.Duration
	most  int64
	every time.Duration
	log   *slog.Logger
}

func (r retention) run(ctx context.Context) {
	ticker := time.NewTicker(r.every)
	defer ticker.Stop()
	for {
		n, err := r.store.Expire(ctx, time.Now().Add(-r.age).UnixMicro(), r.most)
		switch {
		case err != nil && ctx.Err() == nil:
			r.log.Error("cannot remove old spans", "error", err)
		case n > 0:
			r.log.Debug("removed old spans", "count", n)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
