package sqlstore_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/internal/sqlstore"
)

// onBoth runs a test on an empty database of either dialect.
func onBoth(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, "sqlite://"+filepath.Join(t.TempDir(), "x.db")) })
	t.Run("mysql", func(t *testing.T) { test(t, rpctest.MySQLURL(t)) })
}

// exec runs statements on the database as it is.
func exec(t *testing.T, url string, statements ...string) {
	t.Helper()
	migrate(t, url, sqlstore.Schema{}, statements...)
}

// migrate applies a schema, and runs statements afterwards.
func migrate(t *testing.T, url string, s sqlstore.Schema, statements ...string) {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), url, s)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range statements {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// older makes the record of the service that of an earlier release, as which
// goose made it: one table for all.
func older(t *testing.T, url, service string) {
	t.Helper()
	exec(t, url, fmt.Sprintf("ALTER TABLE micro_%s_version RENAME TO goose_db_version", service))
}

func TestServicesShareADatabase(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		for range 2 {
			for _, name := range []string{"one", "two", "three"} {
				migrate(t, url, schema(name, "of_"+name), "SELECT id FROM of_"+name)
			}
		}
	})
}

// What an earlier release left goes on: the table is there, and so is what is
// in it.
func TestOlderDatabase(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		migrate(t, url, things(), "INSERT INTO things (id) VALUES ('kept')")
		older(t, url, "things")
		later := things()
		for range 2 {
			migrate(t, url, later, "UPDATE things SET id = 'kept'")
		}
		// A second service gets its tables, which it did not from that release.
		migrate(t, url, schema("other", "others"), "INSERT INTO others (id) VALUES ('a')")
		migrate(t, url, later, "INSERT INTO things (id) SELECT concat(id, '!') FROM things WHERE id = 'kept'")
		exec(t, url, "INSERT INTO others (id) SELECT id FROM things WHERE id = 'kept!'")
	})
}

// The record of somebody else means nothing, however his tables are called.
func TestRecordsOfOthersAreNotTaken(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		migrate(t, url, schema("users", "users"))
		older(t, url, "users")
		migrate(t, url, things(), "INSERT INTO things (id) VALUES ('a')")
	})
	onBoth(t, func(t *testing.T, url string) {
		exec(t, url, "CREATE TABLE things (id INT, more INT)")
		migrate(t, url, schema("users", "users"))
		older(t, url, "users")
		if _, err := sqlstore.Open(t.Context(), url, things()); err == nil {
			t.Error("a table of another program's was taken for ours")
		}
	})
}
