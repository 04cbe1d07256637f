package srv

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"strings"
	"time"

	"github.com/micro/go-platform/internal/sqlstore"
	pb "github.com/micro/go-platform/monitor/proto"
)

//go:embed sqlite/*.sql mysql/*.sql postgres/*.sql
var migrations embed.FS

// sqlStore is a Store in a SQL database.
type sqlStore struct{ db *sqlstore.DB }

const (
	insertTransition = `INSERT INTO transitions (at_ms, service, node, item, was, became, detail) VALUES (?, ?, ?, ?, ?, ?, ?)`
	selectNodes      = `SELECT node, service, version, address, port, status, updated_ms FROM nodes WHERE updated_ms >= ? OR status NOT IN ('STOPPED', 'UNKNOWN') ORDER BY updated_ms DESC LIMIT ?`
)

// Append implements Store.
func (s *sqlStore) Append(ctx context.Context, changes []change) error {
	err := s.db.Within(ctx, func(tx *sql.Tx) error {
		for _, c := range changes {
			if err := s.appendChange(ctx, tx, c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("append history: %w", err)
	}
	return nil
}

func (s *sqlStore) appendChange(ctx context.Context, tx *sql.Tx, c change) error {
	t := c.transition
	_, err := tx.ExecContext(ctx, insertTransition, t.TimestampMs, t.Service, t.Node, t.Check, t.From, t.To, t.Detail)
	if err != nil || c.node == nil {
		return err
	}
	n := c.node.Nodes[0]
	_, err = tx.ExecContext(ctx, s.db.Replace("nodes", "node", "service", "version", "address", "port", "status", "updated_ms"),
		n.Id, c.node.Name, c.node.Version, n.Address, n.Port, t.To, t.TimestampMs)
	return err
}

// History implements Store.
func (s *sqlStore) History(ctx context.Context, q *pb.HistoryRequest) ([]*pb.Transition, error) {
	query, args := historyQuery(q)
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	defer rows.Close() // rows.Err has told
	var found []*pb.Transition
	for rows.Next() {
		t := &pb.Transition{}
		if err := rows.Scan(&t.Id, &t.TimestampMs, &t.Service, &t.Node, &t.Check, &t.From, &t.To, &t.Detail); err != nil {
			return nil, fmt.Errorf("read history: %w", err)
		}
		found = append(found, t)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	return found, nil
}

func historyQuery(q *pb.HistoryRequest) (string, []any) {
	var where []string
	var args []any
	add := func(condition string, arg any) {
		where, args = append(where, condition), append(args, arg)
	}
	for _, c := range []struct{ column, value string }{
		{"service", q.Service}, {"node", q.Node}, {"item", q.Check}, {"became", q.To},
	} {
		if c.value != "" {
			add(c.column+" = ?", c.value)
		}
	}
	if q.FromMs > 0 {
		add("at_ms >= ?", q.FromMs)
	}
	if q.ToMs > 0 {
		add("at_ms < ?", q.ToMs)
	}
	query := `SELECT id, at_ms, service, node, item, was, became, detail FROM transitions`
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	order := " ORDER BY at_ms, id"
	if q.Reverse {
		order = " ORDER BY at_ms DESC, id DESC"
	}
	return query + order + " LIMIT ? OFFSET ?", append(args, q.Limit, q.Offset)
}

// Nodes implements Store.
func (s *sqlStore) Nodes(ctx context.Context, since time.Time) ([]*pb.Status, error) {
	rows, err := s.db.QueryContext(ctx, selectNodes, since.UnixMilli(), maxNodes)
	if err != nil {
		return nil, fmt.Errorf("read nodes: %w", err)
	}
	defer rows.Close() // rows.Err has told
	var found []*pb.Status
	for rows.Next() {
		n, service, status, updated := &pb.Node{}, &pb.Service{}, "", int64(0)
		if err := rows.Scan(&n.Id, &service.Name, &service.Version, &n.Address, &n.Port, &status, &updated); err != nil {
			return nil, fmt.Errorf("read nodes: %w", err)
		}
		service.Nodes = []*pb.Node{n}
		found = append(found, &pb.Status{
			Service: service, Status: pb.Status_Status(pb.Status_Status_value[status]), Timestamp: updated / 1000,
		})
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read nodes: %w", err)
	}
	return found, nil
}

// Prune implements Store.
func (s *sqlStore) Prune(ctx context.Context, before time.Time) error {
	for _, statement := range []string{
		`DELETE FROM transitions WHERE at_ms < ?`,
		`DELETE FROM nodes WHERE updated_ms < ? AND status IN ('STOPPED', 'UNKNOWN')`,
	} {
		if _, err := s.db.ExecContext(ctx, statement, before.UnixMilli()); err != nil {
			return fmt.Errorf("prune history: %w", err)
		}
	}
	return nil
}
