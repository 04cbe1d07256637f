package sqlstore_test

import (
	"testing"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/internal/sqlstore"
)

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
	rpctest.Databases(t, func(t *testing.T, empty func(testing.TB) string) {
		url := empty(t)
		for range 2 {
			for _, name := range []string{"one", "two", "three"} {
				migrate(t, url, schema(name, "of_"+name), "SELECT id FROM of_"+name)
			}
		}
	})
}
