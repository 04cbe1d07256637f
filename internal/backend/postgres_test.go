package backend_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/micro/go-platform/internal/backend"
)

func onPostgres(t *testing.T, url string, use func(*pgx.Conn)) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	use(conn)
	_ = conn.Close(context.WithoutCancel(t.Context())) // the server may have been killed
}

func TestPostgres(t *testing.T) {
	var name string
	for range 2 { // databases
		onPostgres(t, backend.Postgres(t, backend.Shared).URL, func(conn *pgx.Conn) {
			if _, err := conn.Exec(t.Context(), "CREATE TABLE t (name TEXT)"); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Exec(t.Context(), "INSERT INTO t VALUES ('Zoë 🙂')"); err != nil {
				t.Fatal(err)
			}
			if err := conn.QueryRow(t.Context(), "SELECT name FROM t").Scan(&name); err != nil || name != "Zoë 🙂" {
				t.Fatalf("SELECT = %q, %v", name, err)
			}
		})
	}
}

func TestPostgresKeepsWhatWasCommitted(t *testing.T) {
	s := backend.Postgres(t)
	onPostgres(t, s.URL, func(conn *pgx.Conn) {
		if _, err := conn.Exec(t.Context(), "CREATE TABLE t (n INT)"); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "INSERT INTO t VALUES (7)"); err != nil {
			t.Fatal(err)
		}
		s.Kill(t)
		s.Restart(t)
	})
	onPostgres(t, s.URL, func(conn *pgx.Conn) {
		var n int
		if err := conn.QueryRow(t.Context(), "SELECT n FROM t").Scan(&n); err != nil || n != 7 {
			t.Errorf("SELECT = %d, %v; want 7", n, err)
		}
	})
}

// The server asks who is there.
func TestPostgresWithoutPassword(t *testing.T) {
	s := backend.Postgres(t, backend.Shared)
	_, err := pgx.Connect(t.Context(), "postgres://postgres:guess@"+s.Addr+"/postgres")
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "28P01" {
		t.Errorf("a wrong password: %v", err)
	}
}
