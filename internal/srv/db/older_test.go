package dbsrv_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
	dbsrv "github.com/micro/go-platform/internal/srv/db"
)

// Tables of releases that knew no fencing tokens take them.
func TestOlderCassandraTable(t *testing.T) {
	addr := backend.Cassandra(t, backend.Shared).Addr
	session, err := gocql.NewCluster(addr).CreateSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for _, text := range []string{
		`DROP KEYSPACE IF EXISTS older`,
		`CREATE KEYSPACE older WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}`,
		`CREATE TABLE older.r_notes (id text PRIMARY KEY, created bigint, updated bigint, etag text, terms frozen<map<text, text>>, metadata blob, data blob)`,
		`CREATE TABLE older.t_notes (k text, bucket int, v text, id text, etag text, PRIMARY KEY ((k, bucket), v, id, etag))`,
		`INSERT INTO older.r_notes (id, created, updated, etag) VALUES ('old', 1, 1, 'first')`,
	} {
		if err := session.Query(text).Exec(); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	wasThere(t, "cassandra://"+addr+"/older")
}

func TestOlderElasticsearchIndex(t *testing.T) {
	addr := backend.Elasticsearch(t, backend.Shared).Addr
	send := func(method, path, body string) int {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		rsp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = rsp.Body.Close() // nothing in it matters
		return rsp.StatusCode
	}
	defer http.DefaultClient.CloseIdleConnections()
	send(http.MethodDelete, "/older-notes", "")
	if code := send(http.MethodPut, "/older-notes", `{"settings":{"index":{"max_result_window":102000}},"mappings":{"dynamic":"strict","properties":{
		"id":{"type":"keyword"},"created":{"type":"long"},"updated":{"type":"long"},"etag":{"type":"keyword"},"metadata":{"type":"binary"},"data":{"type":"binary"},
		"terms":{"type":"nested","properties":{"k":{"type":"keyword"},"v":{"type":"keyword"}}}}}}`); code != http.StatusOK {
		t.Fatal("create index: ", code)
	}
	if code := send(http.MethodPut, "/older-notes/_doc/b2xk", `{"id":"old","created":1,"updated":1,"etag":"first","terms":[]}`); code != http.StatusCreated {
		t.Fatal("create document: ", code)
	}
	wasThere(t, "elasticsearch://"+addr+"/older")
}

// wasThere writes to table notes of a database, which has the record old.
func wasThere(t *testing.T, url string) {
	net := rpctest.New(t)
	net.Boot(dbsrv.With(t, nil, map[string][]string{"database": {"older=" + url}}))
	d := db.NewDB(db.Client(net.Client(rpctest.GRPC)), db.Database("older"), db.Table("notes"))
	must(t, d.Start())
	defer func() { must(t, d.Stop()) }()
	if r, err := d.Read("old"); err != nil || r.ETag() != "first" {
		t.Fatalf("%v, %v", r, err)
	}
	must(t, d.Update(db.NewRecord("old", nil, []byte("fenced")), db.Fence(7)))
	if err := d.Update(db.NewRecord("old", nil, nil), db.Fence(6)); !errors.Is(err, db.ErrStale) {
		t.Errorf("a token that is too old: %v", err)
	}
	must(t, d.Delete("old", db.Fence(8)))
	must(t, d.Create(db.NewRecord("new", nil, nil)))
	must(t, d.Delete("new"))
}
