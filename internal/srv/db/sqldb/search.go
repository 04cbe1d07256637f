package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/micro/go-platform/internal/srv/db/driver"
)

func (s *store) Search(ctx context.Context, table string, q driver.Query) ([]*driver.Record, error) {
	found, err := q.Chunks(func(q driver.Query, each func(*driver.Record, string) bool) error {
		return s.search(ctx, table, q, each)
	})
	if err = s.dialect.wrap(ctx, "search", err); errors.Is(err, driver.ErrNoTable) {
		return nil, nil
	}
	return found, err
}

func (s *store) search(ctx context.Context, table string, q driver.Query, each func(*driver.Record, string) bool) error {
	p, done := s.cache.use(table)
	defer done()
	text, args := statement(table, q)
	stmt, end, err := p.search(ctx, text)
	if err != nil {
		return err
	}
	defer end()
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	for rows.Next() {
		r, value := &driver.Record{}, ""
		if err := rows.Scan(&r.ID, &r.Created, &r.Updated, &r.ETag, &r.Metadata, &r.Data, &value); err != nil {
			return err
		}
		if !each(r, value) {
			return nil
		}
	}
	return rows.Err()
}

// statement writes a search. The only text in it that is not ours is the
// table's name; the rest are arguments.
func statement(table string, q driver.Query) (string, []any) {
	var text strings.Builder
	var args []any
	value := "''"
	if q.Order != "" {
		value = "o.v"
	}
	fmt.Fprintf(&text, "SELECT r.id, r.created, r.updated, r.etag, r.metadata, r.data, %s FROM r_%s r", value, table)
	for i, c := range q.Where {
		fmt.Fprintf(&text, " JOIN t_%s c%d ON c%[2]d.id = r.id AND c%[2]d.k = ?", table, i)
		args = append(args, c.Key, c.Low)
		if c.Exact {
			fmt.Fprintf(&text, " AND c%d.v = ?", i)
		} else {
			fmt.Fprintf(&text, " AND c%d.v >= ? AND c%[1]d.v < ?", i)
			args = append(args, c.High)
		}
	}
	id, direction, beyond := "r.id", "", ">"
	if q.Reverse {
		direction, beyond = " DESC", "<"
	}
	if q.Order != "" {
		fmt.Fprintf(&text, " JOIN t_%s o ON o.id = r.id AND o.k = ?", table)
		args = append(args, q.Order)
		id = "o.id"
	}
	switch {
	case q.After != nil && q.Order != "":
		fmt.Fprintf(&text, " WHERE (o.v %s ? OR o.v = ? AND o.id %[1]s ?)", beyond)
		args = append(args, q.After.Value, q.After.Value, q.After.ID)
	case q.After != nil:
		fmt.Fprintf(&text, " WHERE r.id %s ?", beyond)
		args = append(args, q.After.ID)
	}
	text.WriteString(" ORDER BY ")
	if q.Order != "" {
		text.WriteString("o.v" + direction + ", ")
	}
	text.WriteString(id + direction + " LIMIT ? OFFSET ?")
	return text.String(), append(args, q.Limit, q.Offset)
}
