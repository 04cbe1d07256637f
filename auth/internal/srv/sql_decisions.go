package srv

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/micro/go-platform/auth/proto"
)

// SaveDecisions implements Store.
func (s *sqlStore) SaveDecisions(ctx context.Context, instance string, by map[string][]*pb.Decided, now time.Time) error {
	for reporter, all := range by {
		body, err := proto.Marshal(&pb.PolicyReportRequest{Decisions: fitting(all)})
		if err != nil {
			return err
		}
		err = s.within(ctx, "save decisions", func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, `DELETE FROM decisions WHERE instance = ? AND reporter = ?`, instance, reporter); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, `INSERT INTO decisions (instance, reporter, body, updated) VALUES (?, ?, ?, ?)`, instance, reporter, body, now.Unix())
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// maxSaved bounds the bytes that are saved of one reporter: long names must not
// make a row that a database refuses.
const maxSaved = 1 << 20

// fitting returns those that came last of all that have room in a row.
func fitting(all []*pb.Decided) []*pb.Decided {
	all = slices.SortedFunc(slices.Values(all), func(a, b *pb.Decided) int { return cmp.Compare(b.Last, a.Last) })
	size := 0
	for i, d := range all {
		if size += proto.Size(d) + 8; size > maxSaved {
			return all[:i]
		}
	}
	return all
}

// Decisions implements Store.
func (s *sqlStore) Decisions(ctx context.Context, instance string, since time.Time) ([]savedDecisions, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT instance, reporter, body FROM decisions WHERE instance <> ? AND updated >= ?`, instance, since.Unix())
	if err != nil {
		return nil, fmt.Errorf("read decisions: %w", err)
	}
	defer rows.Close()
	var found []savedDecisions
	for rows.Next() {
		var is savedDecisions
		var body []byte
		if err := rows.Scan(&is.instance, &is.reporter, &body); err != nil {
			return nil, fmt.Errorf("read decisions: %w", err)
		}
		var report pb.PolicyReportRequest
		if err := proto.Unmarshal(body, &report); err != nil {
			return nil, fmt.Errorf("read decisions: %w", err)
		}
		is.decisions = report.Decisions
		found = append(found, is)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read decisions: %w", err)
	}
	return found, nil
}
