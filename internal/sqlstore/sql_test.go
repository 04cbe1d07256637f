package sqlstore_test

import (
	"database/sql"
	"errors"
	"testing"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/internal/sqlstore"
)

// What the dialects say in words of their own does the same on each, for names
// and values that a careless quoting would change.
func TestSameEverywhere(t *testing.T) {
	rpctest.Databases(t, func(t *testing.T, empty func(testing.TB) string) {
		db, err := sqlstore.Open(t.Context(), empty(t), sqlstore.Schema{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }() // the database goes with the test
		table := map[sqlstore.Dialect]string{
			sqlstore.SQLite:   "CREATE TABLE pets (name TEXT PRIMARY KEY, raw BLOB, age BIGINT)",
			sqlstore.MySQL:    "CREATE TABLE pets (name VARCHAR(64) PRIMARY KEY, raw BLOB, age BIGINT) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
			sqlstore.Postgres: `CREATE TABLE pets (name TEXT COLLATE "C" PRIMARY KEY, raw BYTEA, age BIGINT)`,
		}[db.Dialect]
		exec := func(text string, args ...any) int64 {
			t.Helper()
			result, err := db.ExecContext(t.Context(), text, args...)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			n, err := result.RowsAffected()
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		exec(table)
		const raw = "\\x41 \x00\xff $1 '?'"
		columns := []string{"name", "raw", "age"}
		if n := exec(db.InsertNew("pets", columns...), "Zoë?", raw, 1); n != 1 {
			t.Errorf("a new row affects %d", n)
		}
		if n := exec(db.InsertNew("pets", columns...), "Zoë?", "other", 2); n != 0 {
			t.Errorf("a known row affects %d", n)
		}
		exec(db.Replace("pets", columns...), "Rex", raw, 3)
		exec(db.Replace("pets", columns...), "Rex", raw, 4)
		var n int
		if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM pets WHERE raw = ? AND age IN (1, 4) AND name <> '?'", raw).Scan(&n); err != nil || n != 2 {
			t.Errorf("%d rows as they were written, %v", n, err)
		}
		_, err = db.ExecContext(t.Context(), "INSERT INTO pets (name, raw, age) VALUES (?, ?, ?)", "Rex", raw, 5)
		if !sqlstore.IsDuplicate(err) || sqlstore.IsRace(err) || sqlstore.Away(err) {
			t.Errorf("a key that is there: %v", err)
		}
		if sqlstore.IsDuplicate(nil) || sqlstore.IsRace(errors.New("no")) {
			t.Error("everything is an error of the database")
		}
	})
}

// Of two transactions that wait for each other one is told so.
func TestRace(t *testing.T) {
	rpctest.SharedDatabases(t, func(t *testing.T, url string) {
		db, err := sqlstore.Open(t.Context(), url, things())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }() // the database goes with the test
		if _, err := db.ExecContext(t.Context(), "INSERT INTO things (id) VALUES ('a'), ('b')"); err != nil {
			t.Fatal(err)
		}
		locked := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
		errs := make(chan error, 2)
		for i, first := range []string{"a", "b"} {
			go func() {
				errs <- db.Within(t.Context(), func(tx *sql.Tx) error {
					lock := func(id string) error {
						return tx.QueryRowContext(t.Context(), "SELECT id FROM things WHERE id = ?"+db.ForUpdate(), id).Scan(&id)
					}
					if err := lock(first); err != nil {
						return err
					}
					close(locked[i])
					<-locked[1-i]
					return lock(map[string]string{"a": "b", "b": "a"}[first])
				})
			}()
		}
		one, other := <-errs, <-errs
		if err := errors.Join(one, other); !sqlstore.IsRace(err) || one != nil && other != nil {
			t.Errorf("%s: %v and %v", db.Dialect, one, other)
		}
	})
}
