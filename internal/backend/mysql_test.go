package backend_test

import (
	"database/sql"
	"testing"

	"github.com/micro/go-platform/internal/backend"
)

func openMySQL(t *testing.T, s *backend.Server) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", s.DSN)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestMySQL(t *testing.T) {
	first := openMySQL(t, backend.MySQL(t, backend.Shared))
	for _, statement := range []string{"CREATE TABLE t (name TEXT)", "INSERT INTO t VALUES ('Zoë 🙂')"} {
		if _, err := first.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	var name string
	if err := first.QueryRowContext(t.Context(), "SELECT name FROM t").Scan(&name); err != nil || name != "Zoë 🙂" {
		t.Fatalf("SELECT = %q, %v", name, err)
	}
	second := openMySQL(t, backend.MySQL(t, backend.Shared))
	if _, err := second.ExecContext(t.Context(), "CREATE TABLE t (name TEXT)"); err != nil {
		t.Fatalf("the second database is not empty: %v", err)
	}
}

func TestMySQLKeepsWhatWasCommitted(t *testing.T) {
	s := backend.MySQL(t)
	db := openMySQL(t, s)
	for _, statement := range []string{"CREATE TABLE t (n INT)", "INSERT INTO t VALUES (7)"} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	s.Kill(t)
	s.Restart(t)
	var n int
	if err := db.QueryRowContext(t.Context(), "SELECT n FROM t").Scan(&n); err != nil || n != 7 {
		t.Fatalf("SELECT = %d, %v; want 7", n, err)
	}
}
