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

type engine struct {
	name  string
	empty func(testing.TB) string
}

func servers() []engine {
	return []engine{
		{"mysql", func(tb testing.TB) string { return MySQLURL(tb, backend.Shared) }},
		{"postgres", func(tb testing.TB) string { return backend.Postgres(tb, backend.Shared).URL }},
	}
}

// Databases runs a test once for each engine that a service can keep its tables
// in. Each call of empty returns the --database_url of a new, empty database; the
// servers are those that the tests of the package share.
func Databases(t *testing.T, test func(t *testing.T, empty func(testing.TB) string)) {
	file := engine{"sqlite", func(tb testing.TB) string { return "sqlite://" + filepath.Join(tb.TempDir(), "x.db") }}
	for _, e := range append([]engine{file}, servers()...) {
		t.Run(e.name, func(t *testing.T) { test(t, e.empty) })
	}
}

// SharedDatabases runs a test once for each engine that several instances of a
// service can share, with the --database_url of a new, empty database.
func SharedDatabases(t *testing.T, test func(t *testing.T, url string)) {
	for _, e := range servers() {
		t.Run(e.name, func(t *testing.T) { test(t, e.empty(t)) })
	}
}
