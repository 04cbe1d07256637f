package rpctest

import (
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
