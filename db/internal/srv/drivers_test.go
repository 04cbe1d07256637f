package srv_test

import (
	"context"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/micro/go-platform/db/dbtest"
	"github.com/micro/go-platform/db/internal/srv/cassandra"
	"github.com/micro/go-platform/db/internal/srv/driver"
	"github.com/micro/go-platform/db/internal/srv/driver/drivertest"
	"github.com/micro/go-platform/db/internal/srv/elastic"
	"github.com/micro/go-platform/db/internal/srv/sqldb"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestSearchesAreBounded(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (driver.Store, error){
		"sqlite": func(t *testing.T) (driver.Store, error) {
			return sqldb.OpenSQLite(t.Context(), driver.Config{Path: filepath.Join(t.TempDir(), "x.db")})
		},
		"mysql": func(t *testing.T) (driver.Store, error) {
			host, name := parts(rpctest.MySQLURL(t))
			return sqldb.OpenMySQL(t.Context(), driver.Config{Hosts: []string{host}, Database: name, User: "root"})
		},
		"postgres": func(t *testing.T) (driver.Store, error) {
			u, err := url.Parse(backend.Postgres(t, backend.Shared).URL)
			must(t, err)
			password, _ := u.User.Password()
			return sqldb.OpenPostgres(t.Context(), driver.Config{
				Hosts: []string{"127.0.0.1:1", u.Host}, Database: strings.TrimPrefix(u.Path, "/"), User: u.User.Username(), Password: password,
			})
		},
		"cassandra":     at(backend.Cassandra, cassandra.Open),
		"opensearch":    at(backend.OpenSearch, elastic.Open),
		"elasticsearch": at(backend.Elasticsearch, elastic.Open),
	} {
		t.Run(name, func(t *testing.T) {
			s, err := open(t)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { must(t, s.Close()) }()
			drivertest.Bytes(t, s)
		})
	}
}

// at opens a database of its own on a server that tests share.
func at(server func(testing.TB, ...backend.Option) *backend.Server, open func(context.Context, driver.Config) (driver.Store, error)) func(*testing.T) (driver.Store, error) {
	return func(t *testing.T) (driver.Store, error) {
		addr := server(t, backend.Shared).Addr
		return open(t.Context(), driver.Config{Hosts: []string{addr}, Database: dbtest.NewName("bounded")})
	}
}
