package rpctest

import (
	"path/filepath"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/micro/go-platform/internal/backend"
)

// MySQLURL returns the --database_url of a new, empty database on a real
// MariaDB.
func MySQLURL(tb testing.TB, opts ...backend.Option) string {
	tb.Helper()
	c, err := mysql.ParseDSN(backend.MySQL(tb, opts...).DSN)
	if err != nil {
		tb.Fatal(err)
	}
	return "mysql://" + c.User + ":" + c.Passwd + "@" + c.Addr + "/" + c.DBName
}

// Databases runs a test once for each engine that a service can keep its tables
// in. Each call of empty returns the --database_url of a new, empty database; the
// servers are those that the tests of the package share.
func Databases(t *testing.T, test func(t *testing.T, empty func(testing.TB) string)) {
	for _, engine := range []struct {
		name  string
		empty func(testing.TB) string
	}{
		{"sqlite", func(tb testing.TB) string { return "sqlite://" + filepath.Join(tb.TempDir(), "x.db") }},
		{"mysql", func(tb testing.TB) string { return MySQLURL(tb, backend.Shared) }},
		{"postgres", func(tb testing.TB) string { return backend.Postgres(tb, backend.Shared).URL }},
	} {
		t.Run(engine.name, func(t *testing.T) { test(t, engine.empty) })
	}
}
