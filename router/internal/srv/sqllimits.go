package srv

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/micro/go-platform/internal/rpcerr"
	pb "github.com/micro/go-platform/router/proto"
)

// CreateLimit implements Store.
func (s *sqlStore) CreateLimit(ctx context.Context, l *pb.LimitSet) error {
	return s.write(ctx, "create limit of "+l.Service, func(tx *sql.Tx) error {
		if err := room(ctx, tx, "limits", maxLimits, ` WHERE service = ?`, l.Service); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO limits (rate, concurrency, retry_ratio, service) VALUES (?, ?, ?, ?)`, limitArgs(l)...)
		return err
	})
}

// limitArgs are the columns in the order of INSERT and UPDATE.
func limitArgs(l *pb.LimitSet) []any {
	return []any{l.RequestsPerSecond, l.Concurrency, l.RetryRatio, l.Service}
}

// UpdateLimit implements Store.
func (s *sqlStore) UpdateLimit(ctx context.Context, l *pb.LimitSet) error {
	return s.write(ctx, "update limit of "+l.Service, func(tx *sql.Tx) error {
		n, err := count(ctx, tx, `SELECT COUNT(*) FROM limits WHERE service = ?`, l.Service)
		if err != nil || n == 0 {
			return errors.Join(err, when(n == 0, rpcerr.ErrNotFound))
		}
		_, err = tx.ExecContext(ctx, `UPDATE limits SET rate = ?, concurrency = ?, retry_ratio = ? WHERE service = ?`, limitArgs(l)...)
		return err
	})
}

// DeleteLimit implements Store.
func (s *sqlStore) DeleteLimit(ctx context.Context, service string) error {
	return s.write(ctx, "delete limit of "+service, func(tx *sql.Tx) error {
		return deleted(tx.ExecContext(ctx, `DELETE FROM limits WHERE service = ?`, service))
	})
}

// ReadLimit implements Store.
func (s *sqlStore) ReadLimit(ctx context.Context, service string) (*pb.LimitSet, error) {
	found, err := s.SearchLimits(ctx, service, 1, 0)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("read limit of %s: %w", service, rpcerr.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

// SearchLimits implements Store.
func (s *sqlStore) SearchLimits(ctx context.Context, service string, limit, offset int64) ([]*pb.LimitSet, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT service, rate, concurrency, retry_ratio FROM limits
		WHERE ? = '' OR service = ? ORDER BY service LIMIT ? OFFSET ?`, service, service, limit, offset)
	if err != nil {
		return nil, fmt.Errorf("search limits: %w", err)
	}
	defer rows.Close()
	var found []*pb.LimitSet
	for rows.Next() {
		l := &pb.LimitSet{}
		if err := rows.Scan(&l.Service, &l.RequestsPerSecond, &l.Concurrency, &l.RetryRatio); err != nil {
			return nil, fmt.Errorf("search limits: %w", err)
		}
		found = append(found, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("search limits: %w", err)
	}
	return found, nil
}
