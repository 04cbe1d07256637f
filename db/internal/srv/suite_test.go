package srv_test

import (
	"path/filepath"
	"testing"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/db/dbtest"
	dbsrv "github.com/micro/go-platform/db/internal/srv"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
)

// run runs the suite on the database at a URL.
func run(t *testing.T, url string) {
	net := rpctest.New(t)
	net.Boot(dbsrv.With(t, nil, map[string][]string{"database": {"suite=" + url}}))
	c := net.Client(rpctest.GRPC)
	dbtest.Run(t, func(_ testing.TB, opts ...db.Option) db.DB {
		return db.NewDB(append([]db.Option{db.Client(c), db.Database("suite")}, opts...)...)
	})
}

func TestSQLite(t *testing.T) { run(t, "sqlite://"+filepath.Join(t.TempDir(), "suite.db")) }

func TestSQLiteInMemory(t *testing.T) { run(t, "sqlite::memory:") }

func TestMySQL(t *testing.T) { run(t, rpctest.MySQLURL(t)) }

func TestPostgres(t *testing.T) { run(t, backend.Postgres(t, backend.Shared).URL) }

func TestCassandra(t *testing.T) {
	run(t, "cassandra://"+backend.Cassandra(t, backend.Shared).Addr+"/suite")
}

func TestOpenSearch(t *testing.T) {
	run(t, "opensearch://"+backend.OpenSearch(t, backend.Shared).Addr+"/suite")
}

func TestElasticsearch(t *testing.T) {
	run(t, "elasticsearch://"+backend.Elasticsearch(t, backend.Shared).Addr+"/suite")
}
