package sqldb

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/micro/go-platform/db/internal/srv/driver"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/internal/sqlstore"
)

func TestMain(m *testing.M) { rpctest.Main(backend.StopAfter(m)) }

func equal(key string) driver.Condition {
	return driver.Condition{Key: key, Low: "sx", High: "sx\x00", Exact: true}
}

// paged are the searches of which a page begins in an index where the one
// before ended.
func paged() map[string]driver.Query {
	return map[string]driver.Query{
		"by id":                 {},
		"by id, reverse":        {Reverse: true},
		"one equality":          {Where: []driver.Condition{equal("a")}},
		"equality and range":    {Where: []driver.Condition{{Key: "b", Low: "n0", High: "n5"}, equal("a")}},
		"two equalities":        {Where: []driver.Condition{equal("a"), equal("b")}, Reverse: true},
		"ordered":               {Order: "o"},
		"ordered, reverse":      {Order: "o", Reverse: true},
		"ordered, one equality": {Order: "o", Where: []driver.Condition{equal("a")}},
		"ordered, range":        {Order: "o", Where: []driver.Condition{{Key: "b", Low: "n0", High: "n5"}}},
	}
}

// planned is a database with a table "shop" of some records.
func planned(t *testing.T, url string) (*sqlstore.DB, dialect) {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), url, sqlstore.Schema{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	d := dialectOf(db.Dialect)
	for _, text := range d.create {
		if _, err := db.ExecContext(t.Context(), fmt.Sprintf(text, "shop")); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Within(t.Context(), func(tx *sql.Tx) error { return fill(t, tx) }); err != nil {
		t.Fatal(err)
	}
	return db, d
}

func fill(t *testing.T, tx *sql.Tx) error {
	for i := range 2000 {
		id := fmt.Sprintf("%04d", i)
		if _, err := tx.ExecContext(t.Context(), "INSERT INTO r_shop (id, created, updated, etag, metadata, data) VALUES (?, 1, 1, 'e', '', '')", id); err != nil {
			return err
		}
		if _, err := tx.ExecContext(t.Context(), "INSERT INTO t_shop (id, k, v) VALUES (?, 'a', ?), (?, 'b', ?), (?, 'o', ?)",
			id, []string{"sx", "sy"}[i%2], id, fmt.Sprint("n", i%9), id, fmt.Sprintf("n%04d", i*7%2000)); err != nil {
			return err
		}
	}
	return nil
}

// explain returns the lines of a plan, without the names of columns.
func explain(t *testing.T, db *sqlstore.DB, prefix, text string, args []any) (plan []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), prefix+text, args...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values, to := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			to[i] = &values[i]
		}
		if err := rows.Scan(to...); err != nil {
			t.Fatal(err)
		}
		line := ""
		for _, v := range values {
			line += v.String + " "
		}
		plan = append(plan, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan
}

// A page costs the same wherever it is: nothing is sorted, and the table that
// leads is entered at the cursor.
func TestPlansOfSQLite(t *testing.T) {
	db, d := planned(t, "sqlite://"+filepath.Join(t.TempDir(), "x.db"))
	for name, q := range paged() {
		q.Limit, q.After = 33, &driver.Cursor{ID: "1000", Value: "n1000"}
		text, args := d.statement("shop", q)
		plan := explain(t, db, "EXPLAIN QUERY PLAN ", text, args)
		all := strings.ReplaceAll(strings.Join(plan, "\n"), "<", ">")
		if strings.Contains(all, "TEMP B-TREE") || strings.Contains(all, "SCAN") {
			t.Errorf("%s: it sorts or scans:\n%s", name, all)
		}
		begins := "id>?"
		if q.Order != "" {
			begins = "(v,id)>(?,?)"
		}
		if !strings.Contains(plan[0], "SEARCH "+leading(q)+" ") || !strings.Contains(strings.ReplaceAll(plan[0], "<", ">"), begins) {
			t.Errorf("%s: it does not begin at the cursor:\n%s", name, all)
		}
	}
}

// MySQL does not sort either where ids are the order. Values may be longer than
// any index's, so that OrderBy does: what is behind the cursor, never what is
// before it.
func TestPlansOfMySQL(t *testing.T) {
	db, d := planned(t, rpctest.MySQLURL(t))
	if _, err := db.ExecContext(t.Context(), "ANALYZE TABLE t_shop, r_shop"); err != nil {
		t.Fatal(err)
	}
	for name, q := range paged() {
		if len(q.Where) > 0 && q.Order != "" {
			continue // what the condition finds is sorted
		}
		q.Limit, q.After = 33, &driver.Cursor{ID: "1900", Value: "n1900"}
		if q.Reverse {
			q.After = &driver.Cursor{ID: "0100", Value: "n0100"}
		}
		text, args := d.statement("shop", q)
		plan := explain(t, db, "EXPLAIN ", text, args)
		all := strings.Join(plan, "\n")
		if sorts := strings.Contains(all, "filesort"); sorts != (q.Order != "") || strings.Contains(all, "temporary") {
			t.Errorf("%s: it sorts:\n%s", name, all)
		}
		if !strings.Contains(plan[0], " range ") {
			t.Errorf("%s: it does not begin at the cursor:\n%s", name, all)
		}
	}
}

// PostgreSQL sorts by the values within what the index has of them, and begins at
// the cursor.
func TestPlansOfPostgres(t *testing.T) {
	db, d := planned(t, backend.Postgres(t, backend.Shared).URL)
	db.SetMaxOpenConns(1) // for the settings
	for _, text := range []string{"ANALYZE", "SET enable_seqscan = off", "SET plan_cache_mode = force_custom_plan"} {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	for name, q := range paged() {
		if len(q.Where) > 0 {
			continue // what the condition finds is sorted if it is little
		}
		q.Limit, q.After = 33, &driver.Cursor{ID: "1900", Value: "n1900"}
		text, args := d.statement("shop", q)
		all := strings.Join(explain(t, db, "EXPLAIN ", text, args), "\n")
		if strings.Contains(strings.ReplaceAll(all, "Incremental Sort", ""), "Sort  ") || !strings.Contains(all, "Index Cond: ") {
			t.Errorf("%s: it sorts all:\n%s", name, all)
		}
		if q.Order != "" && !strings.Contains(all, `("substring"(v, 1, 512) `+map[bool]string{false: ">=", true: "<="}[q.Reverse]) {
			t.Errorf("%s: it does not begin at the cursor:\n%s", name, all)
		}
	}
}
