package srv

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/internal/sqlstore"
	pb "github.com/micro/go-platform/trace/proto"
)

//go:embed sqlite/*.sql mysql/*.sql postgres/*.sql
var migrations embed.FS

// sqlStore is the store in a SQL database.
type sqlStore struct {
	db         *sqlstore.DB
	insertSpan string
	insertTag  string
}

func newSQLStore(db *sqlstore.DB) *sqlStore {
	return &sqlStore{
		db: db,
		insertSpan: db.InsertNew("spans", "trace_id", "id", "kind", "parent_id", "name", "service", "source", "destination",
			"begun", "duration", "failed", "received", "data"),
		insertTag: db.InsertNew("tags", "trace_id", "id", "kind", "tag", "value"),
	}
}

func (s *sqlStore) Insert(ctx context.Context, spans []*record) error {
	err := s.db.Within(ctx, func(tx *sql.Tx) error { return s.insert(ctx, tx, spans) })
	if err != nil {
		return fmt.Errorf("store spans: %w", err)
	}
	return nil
}

func (s *sqlStore) insert(ctx context.Context, tx *sql.Tx, spans []*record) error {
	span, err := tx.PrepareContext(ctx, s.insertSpan)
	if err != nil {
		return err
	}
	defer func() { _ = span.Close() }() // the transaction ends it anyway
	tag, err := tx.PrepareContext(ctx, s.insertTag)
	if err != nil {
		return err
	}
	defer func() { _ = tag.Close() }() // as above
	// In one order always, so that two transactions do not wait for each other.
	slices.SortFunc(spans, func(a, b *record) int {
		return cmp.Or(cmp.Compare(a.span.TraceId, b.span.TraceId), cmp.Compare(a.span.Id, b.span.Id), cmp.Compare(a.kind, b.kind))
	})
	for _, r := range spans {
		if err := insertOne(ctx, span, tag, r); err != nil {
			return err
		}
	}
	return nil
}

func insertOne(ctx context.Context, span, tag *sql.Stmt, r *record) error {
	data, err := proto.Marshal(r.span)
	if err != nil {
		return err
	}
	result, err := span.ExecContext(ctx, r.span.TraceId, r.span.Id, r.kind, r.span.ParentId, r.span.Name, r.service, r.source, r.dst,
		r.span.Timestamp, r.span.Duration, number(r.failed), r.received, data)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return err // known already, and so are its tags
	}
	for t := range r.tags {
		if _, err := tag.ExecContext(ctx, r.span.TraceId, r.span.Id, r.kind, t[0], t[1]); err != nil {
			return err
		}
	}
	return nil
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (s *sqlStore) Read(ctx context.Context, traceID string, limit int) ([]*pb.Span, bool, error) {
	spans, cut, err := s.spans(ctx, `SELECT data FROM spans WHERE trace_id = ? ORDER BY begun, id, kind LIMIT ?`, traceID, limit+1)
	if len(spans) > limit {
		spans, cut = spans[:limit], true
	}
	return spans, cut, err
}

func (s *sqlStore) Delete(ctx context.Context, traceID string) error {
	if _, err := s.db.ExecContext(ctx, `DELETE FROM spans WHERE trace_id = ?`, traceID); err != nil {
		return fmt.Errorf("delete trace: %w", err)
	}
	return nil
}

func (s *sqlStore) Search(ctx context.Context, q query) ([]*pb.Span, bool, error) {
	var where []string
	var args []any
	when := func(holds bool, condition string, values ...any) {
		if holds {
			where, args = append(where, condition), append(args, values...)
		}
	}
	when(q.name != "", "name = ?", q.name)
	when(q.service != "", "service = ?", q.service)
	when(q.minDuration > 0, "duration >= ?", q.minDuration)
	when(q.maxDuration > 0, "duration <= ?", q.maxDuration)
	when(q.from > 0, "begun >= ?", q.from)
	when(q.to > 0, "begun < ?", q.to)
	when(q.failed, "failed = 1")
	for tag, value := range q.tags {
		const tagged = "EXISTS (SELECT 1 FROM tags t WHERE t.trace_id = s.trace_id AND t.id = s.id AND t.kind = s.kind AND t.tag = ?"
		when(value == "", tagged+")", tag)
		when(value != "", tagged+" AND t.value = ?)", tag, tagValue(value))
	}
	text := "SELECT data FROM spans s"
	if len(where) > 0 {
		text += " WHERE " + strings.Join(where, " AND ")
	}
	order := ""
	if q.reverse {
		order = " DESC"
	}
	text += " ORDER BY begun" + order + ", trace_id, id, kind LIMIT ? OFFSET ?"
	return s.spans(ctx, text, append(args, q.limit, q.offset)...)
}

// spans reads the spans that a query selects, until they are maxAnswer bytes.
func (s *sqlStore) spans(ctx context.Context, text string, args ...any) (spans []*pb.Span, cut bool, err error) {
	rows, err := s.db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, false, fmt.Errorf("read spans: %w", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	size := 0
	for rows.Next() {
		var data sql.RawBytes
		if err := rows.Scan(&data); err != nil {
			return nil, false, fmt.Errorf("read spans: %w", err)
		}
		if size += len(data); size > maxAnswer {
			return spans, true, nil
		}
		span := &pb.Span{}
		if err := proto.Unmarshal(data, span); err != nil {
			return nil, false, fmt.Errorf("read spans: %w", err)
		}
		spans = append(spans, span)
	}
	if err := rows.Err(); err != nil {
		return nil, false, fmt.Errorf("read spans: %w", err)
	}
	return spans, false, nil
}
