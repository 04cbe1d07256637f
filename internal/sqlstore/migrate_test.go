package sqlstore_test

import (
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

func TestServicesShareADatabase(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		for range 2 {
			for _, name := range []string{"one", "two", "three"} {
				migrate(t, url, schema(name, "of_"+name), "SELECT id FROM of_"+name)
			}
		}
	})
}
