package backend_test

import (
	"testing"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/micro/go-platform/internal/backend"
)

func TestCassandra(t *testing.T) {
	s := backend.Cassandra(t)
	session := openCassandra(t, s)
	for _, statement := range []string{
		`CREATE KEYSPACE shop WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}`,
		`CREATE TABLE shop.t (k text PRIMARY KEY, v text)`,
		`INSERT INTO shop.t (k, v) VALUES ('a', 'Zoë')`,
	} {
		if err := session.Query(statement).ExecContext(t.Context()); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	session.Close()

	s.Kill(t)
	s.Restart(t)
	session = openCassandra(t, s)
	defer session.Close()
	var v string
	err := session.Query(`SELECT v FROM shop.t WHERE k = 'a'`).ScanContext(t.Context(), &v)
	if err != nil || v != "Zoë" {
		t.Fatalf("SELECT = %q, %v; want Zoë", v, err)
	}
}

func openCassandra(t *testing.T, s *backend.Server) *gocql.Session {
	t.Helper()
	cluster := gocql.NewCluster(s.Addr)
	cluster.ConnectTimeout, cluster.Timeout = 30*time.Second, 30*time.Second
	session, err := cluster.CreateSession()
	if err != nil {
		t.Fatal(err)
	}
	return session
}
