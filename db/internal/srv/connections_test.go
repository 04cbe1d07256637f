package srv_test

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/db/dbtest"
	dbsrv "github.com/micro/go-platform/db/internal/srv"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
)

const callers = 4

// counting counts the connections that are made.
type counting struct{ dials atomic.Int64 }

func (c *counting) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c.dials.Add(1)
	return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
}

// use makes n calls of all kinds by several callers.
func use(t *testing.T, d db.DB, callers, n int) {
	t.Helper()
	errs := make(chan error, callers)
	for w := range callers {
		go func() {
			errs <- func() error {
				id := fmt.Sprint(w)
				for range n / callers / 5 {
					if err := d.Create(db.NewRecord(id, db.Metadata{"w": w}, nil)); err != nil {
						return err
					}
					if _, err := d.Read(id); err != nil {
						return err
					}
					if err := d.Update(db.NewRecord(id, db.Metadata{"w": w, "x": 1}, nil)); err != nil {
						return err
					}
					if _, err := d.Search(db.Metadata{"w": w}, 0, 0); err != nil {
						return err
					}
					if err := d.Delete(id); err != nil {
						return err
					}
				}
				return nil
			}()
		}()
	}
	for range callers {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}

func countDials(t *testing.T, url string) {
	net, c := rpctest.New(t), &counting{}
	net.Boot(dbsrv.With(t, c.dial, map[string][]string{"database": {"warm=" + url}}))
	d := open(t, net, db.Database("warm"), db.Table(dbtest.NewName("warm")))
	use(t, d, 4*callers, 160) // net/http needs more connections than callers, now and then
	warm := c.dials.Load()
	use(t, d, callers, 1000)
	if n := c.dials.Load(); warm == 0 || n > warm+2 { // a defect would dial for each call; a busy machine may want one more at once
		t.Errorf("%d dials until it was warm, %d more in 1000 calls", warm, n-warm)
	}
}

func TestNoDialsWhenWarm(t *testing.T) {
	t.Run("mysql", func(t *testing.T) { countDials(t, rpctest.MySQLURL(t)) })
	t.Run("postgres", func(t *testing.T) { countDials(t, backend.Postgres(t, backend.Shared).URL) })
	t.Run("opensearch", func(t *testing.T) {
		countDials(t, "opensearch://"+backend.OpenSearch(t, backend.Shared).Addr+"/warm")
	})
	t.Run("cassandra", func(t *testing.T) {
		countDials(t, "cassandra://"+backend.Cassandra(t, backend.Shared).Addr+"/warm")
	})
}

// The server itself says how often it was connected to and asked to prepare.
func TestMySQLStatementsArePrepared(t *testing.T) {
	s := backend.MySQL(t)
	server, err := sql.Open("mysql", s.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	server.SetMaxOpenConns(1)
	status := func(name string) (n int) {
		var ignored string
		if err := server.QueryRow("SHOW GLOBAL STATUS LIKE '"+name+"'").Scan(&ignored, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	net := rpctest.New(t)
	net.Boot(dbsrv.With(t, nil, map[string][]string{"database": {"warm=" + mysqlURL(t, s.DSN)}}))
	d := open(t, net, db.Database("warm"))
	use(t, d, 4*callers, 800)
	prepared, connections := status("Com_stmt_prepare"), status("Connections")
	use(t, d, callers, 1000)
	// A connection that was idle before may still meet a statement it has not seen.
	if n := status("Com_stmt_prepare") - prepared; n > 20 {
		t.Errorf("%d statements were prepared in 1000 warm calls", n)
	}
	if n := status("Connections") - connections; n > 2 {
		t.Errorf("%d connections in 1000 warm calls", n)
	}
	if prepared == 0 {
		t.Error("nothing was ever prepared")
	}
}

// A server without room for statements gets back what is kept of them here.
func TestMySQLWithoutRoomForStatements(t *testing.T) {
	s := backend.MySQL(t)
	server, err := sql.Open("mysql", s.DSN)
	must(t, err)
	defer func() { _ = server.Close() }() // it ends with the test
	net := rpctest.New(t)
	net.Boot(dbsrv.With(t, nil, map[string][]string{"database": {"full=" + mysqlURL(t, s.DSN)}}))
	d := open(t, net, db.Database("full"))
	for i := range 8 {
		must(t, d.Create(db.NewRecord("a", nil, nil), db.InTable(fmt.Sprint("t", i))))
	}
	_, err = server.ExecContext(t.Context(), "SET GLOBAL max_prepared_stmt_count = 20")
	must(t, err)
	must(t, d.Create(db.NewRecord("a", nil, nil), db.InTable("another")))
	for i := range 8 {
		must(t, d.Update(db.NewRecord("a", nil, nil), db.InTable(fmt.Sprint("t", i))))
	}
}

func reconnect(t *testing.T, s *backend.Server, url string) {
	net := rpctest.New(t)
	net.Boot(dbsrv.With(t, nil, map[string][]string{"database": {"restarted=" + url}}))
	c := net.Client(rpctest.GRPC)
	dbtest.RunReconnect(t, func(_ testing.TB, opts ...db.Option) db.DB {
		return db.NewDB(append([]db.Option{db.Client(c), db.Database("restarted"), db.Timeout(20 * time.Second)}, opts...)...)
	}, func(t *testing.T) { s.Kill(t) }, func(t *testing.T) { s.Restart(t) })
}

func TestReconnectMySQL(t *testing.T) {
	s := backend.MySQL(t)
	reconnect(t, s, mysqlURL(t, s.DSN))
}

func TestReconnectOpenSearch(t *testing.T) {
	s := backend.OpenSearch(t)
	reconnect(t, s, "opensearch://"+s.Addr+"/restarted")
}

func TestReconnectCassandra(t *testing.T) {
	s := backend.Cassandra(t)
	reconnect(t, s, "cassandra://"+s.Addr+"/restarted")
}

// mysqlURL turns a DSN of the backend's, "root@tcp(host)/name?...", into a URL.
func mysqlURL(t *testing.T, dsn string) string {
	t.Helper()
	user, rest, _ := strings.Cut(dsn, "@tcp(")
	host, rest, ok := strings.Cut(rest, ")/")
	if !ok {
		t.Fatalf("a DSN of a new form: %s", dsn)
	}
	name, _, _ := strings.Cut(rest, "?")
	return "mysql://" + user + "@" + host + "/" + name
}
