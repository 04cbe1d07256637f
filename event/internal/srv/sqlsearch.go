package srv

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/micro/go-platform/event/internal/eventlog"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/sqlstore"
)

// The planners of the databases do not know the log: for a few records of a million
// they scan all, in order, and for many they sort all. Which index a search uses is
// therefore decided here.
const (
	fewRecords = 10_000 // fewer are sorted faster than a part of the log is scanned
	fewTypes   = 100    // up to so many types of a prefix are searched one by one
	fewSorted  = 100_000
)

// Search implements eventlog.Store.
func (s *sqlStore) Search(ctx context.Context, q eventlog.Query) ([]*pb.Record, bool, error) {
	found, cut, err := s.search(ctx, q)
	if err != nil {
		return nil, false, fmt.Errorf("search records: %w", err)
	}
	return found, cut, nil
}

func (s *sqlStore) search(ctx context.Context, q eventlog.Query) ([]*pb.Record, bool, error) {
	var w where
	if q.ID != "" {
		w.and("id = ?", q.ID)
	}
	if q.From > 0 {
		w.and("occurred >= ?", q.From)
	}
	if q.To > 0 {
		w.and("occurred < ?", q.To)
	}
	hint, few := "", false
	if q.ID == "" && len(w.all) > 0 {
		var err error
		if few, err = s.few(ctx, w); err != nil {
			return nil, false, err
		}
		if few {
			hint = s.by("records_occurred")
		} else if near, enough, err := s.near(ctx, q, w); enough || err != nil {
			return near.records, near.short(q.Limit), err
		} else if err := s.between(ctx, &w); err != nil {
			return nil, false, err
		}
	}
	w.after(q)
	if q.ID == "" && !few && len(q.Filter.Prefixes()) == 1 && len(q.Filter.Exact()) == 0 && !q.Filter.All() {
		types, err := s.typesOf(ctx, q.Filter.Prefixes()[0])
		if err != nil || len(types) == 0 {
			return nil, false, err
		}
		if len(types) <= fewTypes && int64(len(types))*(q.Limit+q.Offset) <= fewSorted {
			return s.byTypes(ctx, q, w, types)
		}
	}
	w.types(q.Filter)
	f, err := s.records(ctx, `SELECT sequence, crc, data FROM records`+hint+w.text()+
		s.inOrder(few, q)+` LIMIT ? OFFSET ?`, append(w.args, q.Limit, q.Offset)...)
	return f.records, f.short(q.Limit), err
}

// after makes the search begin at the query's cursor.
func (w *where) after(q eventlog.Query) {
	switch {
	case q.Reverse && q.After > 0:
		w.and("sequence < ?", q.After)
	case !q.Reverse && q.After > 0:
		w.and("sequence > ?", q.After)
	}
}

// near searches the fewRecords sequences where the search begins. enough reports
// whether they fill the answer.
func (s *sqlStore) near(ctx context.Context, q eventlog.Query, w where) (f found, enough bool, err error) {
	w = where{slices.Clone(w.all), slices.Clone(w.args)}
	w.after(q)
	if q.Reverse {
		first := s.last.Load() + 1
		if q.After > 0 {
			first = q.After
		}
		w.and("sequence >= ?", first-min(first, fewRecords))
	} else {
		expired, _, err := s.Bounds(ctx)
		if err != nil {
			return f, false, err
		}
		w.and("sequence <= ?", max(expired, q.After)+fewRecords)
	}
	w.types(q.Filter)
	f, err = s.records(ctx, `SELECT sequence, crc, data FROM records`+w.text()+
		` ORDER BY sequence`+direction(q)+` LIMIT ? OFFSET ?`, append(w.args, q.Limit, q.Offset)...)
	return f, f.cut || int64(f.rows) == q.Limit, err
}

func direction(q eventlog.Query) string {
	if q.Reverse {
		return " DESC"
	}
	return ""
}

// by returns the clause that makes a statement use an index. PostgreSQL has none;
// see inOrder.
func (s *sqlStore) by(index string) string {
	switch s.db.Dialect {
	case sqlstore.MySQL:
		return " FORCE INDEX (" + index + ")"
	case sqlstore.Postgres:
		return ""
	}
	return " INDEXED BY " + index
}

// inOrder orders what a query selects. What is sorted is found otherwise than by the
// index of sequences, which PostgreSQL's planner is told by a sum.
func (s *sqlStore) inOrder(sorted bool, q eventlog.Query) string {
	if sorted && s.db.Dialect == sqlstore.Postgres {
		return " ORDER BY sequence + 0" + direction(q)
	}
	return " ORDER BY sequence" + direction(q)
}

// few reports whether fewer than fewRecords records are of the time.
func (s *sqlStore) few(ctx context.Context, w where) (bool, error) {
	var n int
	err := s.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT sequence FROM records`+s.by("records_occurred")+w.text()+` LIMIT ?) AS found`,
		append(w.args, fewRecords)...).Scan(&n)
	return n < fewRecords, err
}

// between restricts the search to the sequences from the first to the last record of
// the time: mostly they are in one part of the log.
func (s *sqlStore) between(ctx context.Context, w *where) error {
	var first, last sql.NullInt64
	err := s.db.QueryRowContext(ctx, `SELECT MIN(sequence), MAX(sequence) FROM records`+s.by("records_occurred")+w.text(), w.args...).Scan(&first, &last)
	if err == nil {
		w.and("sequence >= ?", first.Int64)
		w.and("sequence <= ?", last.Int64)
	}
	return err
}

// typesOf returns the types with a prefix, at most fewTypes and one more: each costs
// a look-up in the index.
func (s *sqlStore) typesOf(ctx context.Context, prefix string) (types []string, err error) {
	for last := prefix; len(types) <= fewTypes; {
		op := ">"
		if len(types) == 0 {
			op = ">="
		}
		err := s.db.QueryRowContext(ctx, `SELECT type FROM records`+s.by("records_type")+` WHERE type `+op+` ? AND type < ? ORDER BY type LIMIT 1`,
			last, afterPrefix(prefix)).Scan(&last)
		if errors.Is(err, sql.ErrNoRows) {
			break
		}
		if err != nil {
			return nil, err
		}
		types = append(types, last)
	}
	return types, nil
}

// byTypes takes as many records of each type as may be needed, each in order, and
// merges them.
func (s *sqlStore) byTypes(ctx context.Context, q eventlog.Query, w where, types []string) ([]*pb.Record, bool, error) {
	var parts []string
	var args []any
	for i, t := range types {
		one := where{append([]string{"type = ?"}, w.all...), append([]any{t}, w.args...)}
		parts = append(parts, fmt.Sprintf(`SELECT sequence FROM (SELECT sequence FROM records%s%s ORDER BY sequence%s LIMIT ?) AS t%d`,
			s.by("records_type"), one.text(), direction(q), i))
		args = append(append(args, one.args...), q.Limit+q.Offset)
	}
	sequences, err := s.sequences(ctx, `SELECT sequence FROM (`+strings.Join(parts, " UNION ALL ")+`) AS all_types ORDER BY sequence`+direction(q)+` LIMIT ? OFFSET ?`,
		append(args, q.Limit, q.Offset)...)
	var all []*pb.Record
	size, full := 0, int64(len(sequences)) == q.Limit
	for len(sequences) > 0 && err == nil {
		n := min(len(sequences), rows)
		var some found
		some, err = s.records(ctx, `SELECT sequence, crc, data FROM records WHERE sequence IN (?`+strings.Repeat(", ?", n-1)+`) ORDER BY sequence`+direction(q), sequences[:n]...)
		all, sequences = append(all, some.records...), sequences[n:]
		for _, r := range some.records {
			size += len(r.Data) + len(r.Binary)
		}
		if some.cut || size > eventlog.MaxPage && len(sequences) > 0 {
			return all, true, err
		}
	}
	return all, full && int64(len(all)) < q.Limit, err
}

func (s *sqlStore) sequences(ctx context.Context, text string, args ...any) (all []any, err error) {
	found, err := s.db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = found.Close() }() // found.Err has the error
	for found.Next() {
		var sequence uint64
		if err := found.Scan(&sequence); err != nil {
			return nil, err
		}
		all = append(all, sequence)
	}
	return all, found.Err()
}
