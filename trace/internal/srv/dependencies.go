package srv

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	pb "github.com/micro/go-platform/trace/proto"
)

// Numbers of trace.Kind: 1 client, 2 server, 3 producer, 4 consumer.

// edges are calls of which both sides were recorded. An error counts when
// either side saw one: the caller knows of timeouts, the callee of the rest.
const edges = `SELECT p.service, c.service, COUNT(*), SUM(CASE WHEN c.failed = 1 OR p.failed = 1 AND p.kind IN (1, 3) THEN 1 ELSE 0 END)
	FROM spans c JOIN spans p ON p.trace_id = c.trace_id AND p.id = c.parent_id
	WHERE c.kind IN (2, 4) AND c.begun >= ? AND c.begun < ? AND p.service <> '' AND c.service <> ''
	GROUP BY p.service, c.service`

// halves are calls of which one side alone was recorded and named the other.
const halves = `SELECT s.source, s.destination, COUNT(*), SUM(s.failed)
	FROM spans s
	WHERE s.kind IN (1, 2) AND s.begun >= ? AND s.begun < ? AND s.source <> '' AND s.destination <> ''
	AND (s.kind = 2 OR NOT EXISTS (SELECT 1 FROM spans c WHERE c.trace_id = s.trace_id AND c.parent_id = s.id AND c.kind = 2))
	AND (s.kind = 1 OR NOT EXISTS (SELECT 1 FROM spans p WHERE p.trace_id = s.trace_id AND p.id = s.parent_id))
	GROUP BY s.source, s.destination`

const maxDependencies = 10000

func (s *sqlStore) Dependencies(ctx context.Context, from, to int64) ([]*pb.Dependency, error) {
	found := make(map[[2]string]*pb.Dependency)
	for _, text := range []string{edges, halves} {
		if err := s.count(ctx, found, text, from, to); err != nil {
			return nil, fmt.Errorf("dependencies: %w", err)
		}
	}
	all := make([]*pb.Dependency, 0, len(found))
	for _, d := range found {
		d.CallsPerSecond = float64(d.Calls) / (float64(to-from) / 1e6)
		d.ErrorRate = float64(d.Errors) / float64(d.Calls)
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *pb.Dependency) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Parent, b.Parent), cmp.Compare(a.Child, b.Child))
	})
	return all[:min(len(all), maxDependencies)], nil
}

func (s *sqlStore) count(ctx context.Context, found map[[2]string]*pb.Dependency, text string, from, to int64) error {
	rows, err := s.db.QueryContext(ctx, text+" ORDER BY 3 DESC LIMIT ?", from, to, maxDependencies)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	for rows.Next() {
		var d pb.Dependency
		if err := rows.Scan(&d.Parent, &d.Child, &d.Calls, &d.Errors); err != nil {
			return err
		}
		key := [2]string{d.Parent, d.Child}
		if known, ok := found[key]; ok {
			known.Calls += d.Calls
			known.Errors += d.Errors
		} else {
			found[key] = &d
		}
	}
	return rows.Err()
}
