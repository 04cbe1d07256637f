package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/micro/go-platform/db/internal/srv/driver"
)

func (s *store) Search(ctx context.Context, table string, q driver.Query) ([]*driver.Record, error) {
	found, err := q.Chunks(func(q driver.Query, each func(*driver.Record, string) bool) error {
		return s.search(ctx, table, q, each)
	})
	if err = s.wrap(ctx, "search", err); errors.Is(err, driver.ErrNoTable) {
		return nil, nil
	}
	return found, err
}

func (s *store) search(ctx context.Context, table string, q driver.Query, each func(*driver.Record, string) bool) error {
	p, done := s.cache.use(table)
	defer done()
	text, args := s.dialect.statement(table, q)
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
func (d dialect) statement(table string, q driver.Query) (string, []any) {
	var text strings.Builder
	value := "''"
	if q.Order != "" {
		value = "o.v"
	}
	fmt.Fprintf(&text, "SELECT r.id, r.created, r.updated, r.etag, r.metadata, r.data, %s FROM r_%s r", value, table)
	args := d.where(&text, table, q)
	id, direction, beyond := leading(q)+".id", "", ">"
	if q.Reverse {
		direction, beyond = " DESC", "<"
	}
	order := id + direction
	if q.Order != "" {
		order = d.valueOrder(direction) + ", " + order
	}
	switch {
	case q.After != nil && q.Order != "":
		after, values := d.after(beyond, q.After)
		args = append(args, d.bound(&text, " WHERE ", "o", beyond+"=", q.After.Value)...)
		text.WriteString(after)
		args = append(args, values...)
	case q.After != nil:
		fmt.Fprintf(&text, " WHERE %s %s ?", id, beyond)
		args = append(args, q.After.ID)
	}
	text.WriteString(" ORDER BY " + order + " LIMIT ? OFFSET ?")
	return text.String(), append(args, q.Limit, q.Offset)
}

// where joins the terms that must be there.
func (d dialect) where(text *strings.Builder, table string, q driver.Query) (args []any) {
	for i, c := range q.Where {
		alias := fmt.Sprint("c", i)
		fmt.Fprintf(text, " JOIN t_%s %s ON %[2]s.id = r.id AND %[2]s.k = ?", table, alias)
		args = append(args, c.Key)
		if c.Exact {
			args = append(args, d.compare(text, alias, "=", c.Low)...)
		} else {
			args = append(args, d.compare(text, alias, ">=", c.Low)...)
			args = append(args, d.compare(text, alias, "<", c.High)...)
		}
	}
	if q.Order != "" {
		fmt.Fprintf(text, " JOIN t_%s o ON o.id = r.id AND o.k = ?", table)
		args = append(args, q.Order)
	}
	return args
}

// compare writes a condition for the value of a term.
func (d dialect) compare(text *strings.Builder, alias, op, value string) []any {
	args := d.bound(text, " AND ", alias, strings.TrimSuffix(op, "=")+"=", value)
	fmt.Fprintf(text, "%s.v %s ?", alias, op)
	return append(args, value)
}

// bound begins a condition with what the index can say of it, if it does not
// have the whole value.
func (d dialect) bound(text *strings.Builder, begin, alias, op, value string) []any {
	text.WriteString(begin)
	if d.indexed == "" {
		return nil
	}
	fmt.Fprintf(text, d.indexed+" %s "+d.indexed+" AND ", alias+".v", op, "?::bytea")
	return []any{value}
}

// valueOrder is the order of "o"'s values, in which an index has what it has.
func (d dialect) valueOrder(direction string) string {
	order := "o.v" + direction
	if d.indexed != "" {
		order = fmt.Sprintf(d.indexed, "o.v") + direction + ", " + order
	}
	return order
}

// leading is the alias of the table whose index has what is found in the order
// of the query. The index of terms has ids in order where key and value are
// given. That the ids of all aliases are equal SQLite's planner does not see.
func leading(q driver.Query) string {
	if q.Order != "" {
		return "o"
	}
	for i, c := range q.Where {
		if c.Exact {
			return fmt.Sprint("c", i)
		}
	}
	return "r"
}

// afterRow begins in the index right behind the cursor.
func afterRow(beyond string, c *driver.Cursor) (string, []any) {
	return "(o.v, o.id) " + beyond + " (?, ?)", []any{c.Value, c.ID}
}

// afterValue is for MySQL, which compares rows one by one: it begins in the
// index at the cursor's value.
func afterValue(beyond string, c *driver.Cursor) (string, []any) {
	return "o.v " + beyond + "= ? AND (o.v " + beyond + " ? OR o.id " + beyond + " ?)", []any{c.Value, c.Value, c.ID}
}
