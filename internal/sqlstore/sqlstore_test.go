package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/internal/sqlstore"
)

func TestMain(m *testing.M) { rpctest.Main(backend.StopAfter(m)) }

// schema is that of a service with one table.
func schema(service, table string) sqlstore.Schema {
	file := func(kind string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE " + table + " (id " + kind + " PRIMARY KEY);\n")}
	}
	return sqlstore.Schema{Service: service, Migrations: fstest.MapFS{
		"sqlite/00001_begin.sql":   file("TEXT"),
		"mysql/00001_begin.sql":    file("VARCHAR(64)"),
		"postgres/00001_begin.sql": file("TEXT"),
	}}
}

func things() sqlstore.Schema { return schema("things", "things") }

func use(t *testing.T, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for range 2 { // the second time there is nothing to migrate
		db, err := sqlstore.Open(ctx, url, things())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(ctx, "DELETE FROM things"); err != nil {
			t.Error(err)
		}
		if _, err := db.ExecContext(ctx, "INSERT INTO things (id) VALUES (?)", "a"); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpen(t *testing.T) {
	rpctest.Databases(t, func(t *testing.T, empty func(testing.TB) string) { use(t, empty(t)) })
	use(t, "sqlite::memory:")
}

// Many writers at once wait for each other, none until the busy timeout.
func TestSQLiteManyWriters(t *testing.T) {
	db, err := sqlstore.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "x.db"), things())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	const writers = 300
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			err := db.Within(t.Context(), func(tx *sql.Tx) error {
				_, err := tx.ExecContext(t.Context(), "INSERT INTO things (id) VALUES (?)", fmt.Sprint(i))
				<-time.After(20 * time.Millisecond) // a slow disk
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var n int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM things").Scan(&n); err != nil || n != writers {
		t.Errorf("%d of %d written, %v", n, writers, err)
	}
}

// The file may hold secrets, and a name what means something in a URL.
func TestSQLiteFileIsPrivate(t *testing.T) {
	for _, name := range []string{"x.db", "x#1?y=z%41.db"} {
		path := filepath.Join(t.TempDir(), name)
		db, err := sqlstore.Open(t.Context(), "sqlite://"+path, things())
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 || info.Size() == 0 {
			t.Errorf("mode %v, %d bytes, want 0600 and the tables", info.Mode(), info.Size())
		}
	}
}

// Instances that start at the same time migrate one after the other.
func TestTogether(t *testing.T) {
	rpctest.SharedDatabases(t, func(t *testing.T, url string) {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				db, err := sqlstore.Open(t.Context(), url, things())
				if err != nil {
					t.Error(err)
					return
				}
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

func TestBadURLs(t *testing.T) {
	for _, c := range []struct{ url, want string }{
		{"", "unknown scheme"},
		{"oracle://secret@x/y", `unknown scheme "oracle"`},
		{"sqlite://", "no file"},
		{"sqlite:///no/such/folder/x.db", "open sqlite database"},
		{"mysql://user:secret@127.0.0.1:1/x", "open mysql database"},
		{"postgres://user:secret@127.0.0.1:1/x", "open postgres database"},
		{"postgres://user:sec%ret@127.0.0.1:1/x", "not of the form"},
		{"postgres://user:secret@127.0.0.1:1/x?sslmode=often", "not of the form"},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_, err := sqlstore.Open(ctx, c.url, things())
		cancel()
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want %q and no secret", c.url, err, c.want)
		}
	}
}

func TestOptions(t *testing.T) {
	db, err := sqlstore.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "x.db"), sqlstore.Schema{})
	if err != nil {
		t.Fatal(err)
	}
	var synchronous int
	if err := db.QueryRow("PRAGMA synchronous").Scan(&synchronous); err != nil || synchronous != 2 {
		t.Errorf("synchronous is %d, %v; want 2, full", synchronous, err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	refused := errors.New("refused")
	_, err = sqlstore.Open(t.Context(), "mysql://u:p@h/x", sqlstore.Schema{}, sqlstore.Dial(func(context.Context, string, string) (net.Conn, error) { return nil, refused }))
	if !errors.Is(err, refused) {
		t.Errorf("got %v from a dial function of ours", err)
	}
}

// After a failover what was the primary answers but refuses to write: its
// connections are given up for new ones.
func TestMySQLThatBecameReadOnly(t *testing.T) {
	s := backend.MySQL(t)
	admin, err := sql.Open("mysql", s.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }() // the server ends with the test
	run := func(text string) {
		t.Helper()
		if _, err := admin.ExecContext(t.Context(), text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	run("CREATE DATABASE shop")
	run("CREATE USER clerk IDENTIFIED BY 'x'") // may not write to a server that is read-only
	run("GRANT ALL ON shop.* TO clerk")
	var dials atomic.Int64
	db, err := sqlstore.Open(t.Context(), "mysql://clerk:x@"+s.Addr+"/shop", things(), sqlstore.Dial(func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // the test has looked at what matters
	write := func(id string) error {
		_, err := db.ExecContext(t.Context(), "INSERT INTO things (id) VALUES (?)", id)
		return err
	}
	if err := write("before"); err != nil {
		t.Fatal(err)
	}
	run("SET GLOBAL read_only = 1")
	before := dials.Load()
	if err := write("meanwhile"); !errors.Is(err, driver.ErrBadConn) || dials.Load() == before {
		t.Errorf("%v after %d new connections", err, dials.Load()-before)
	}
	run("SET GLOBAL read_only = 0")
	if err := write("after"); err != nil {
		t.Error(err)
	}
}

// A standby that took the place of what was the primary refuses to write: the
// connections to it are given up for new ones.
func TestPostgresThatBecameReadOnly(t *testing.T) {
	s := backend.Postgres(t, backend.Shared)
	admin, err := sqlstore.Open(t.Context(), s.URL, things())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }() // the database goes with the test
	readOnly := func(word string) {
		t.Helper()
		if _, err := admin.ExecContext(t.Context(), "ALTER DATABASE "+path.Base(s.URL)+" SET default_transaction_read_only = "+word); err != nil {
			t.Fatal(err)
		}
	}
	var dials atomic.Int64
	db, err := sqlstore.Open(t.Context(), s.URL, sqlstore.Schema{}, sqlstore.Dial(func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // as above
	write := func(id string) error {
		_, err := db.ExecContext(t.Context(), "INSERT INTO things (id) VALUES (?)", id)
		return err
	}
	db.SetMaxIdleConns(0) // each statement has a connection of its own
	readOnly("on")
	before := dials.Load()
	if err := write("meanwhile"); !errors.Is(err, driver.ErrBadConn) || dials.Load()-before < 2 {
		t.Errorf("%v after %d new connections", err, dials.Load()-before)
	}
	readOnly("off")
	if err := write("after"); err != nil {
		t.Error(err)
	}
}
