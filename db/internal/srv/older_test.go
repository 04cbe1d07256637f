package srv_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/micro/go-platform/db"
	dbsrv "github.com/micro/go-platform/db/internal/srv"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
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
		`INSERT INTO older.r_notes (id, created, updated, etag, terms) VALUES ('old', 1, 1, 'first', {'k': 'sone'})`,
		`INSERT INTO older.t_notes (k, bucket, v, id, etag) VALUES ('', 6, 'sold', 'old', 'first')`,
		`INSERT INTO older.t_notes (k, bucket, v, id, etag) VALUES ('k', 6, 'sone', 'old', 'first')`,
	} {
		if err := session.Query(text).Exec(); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	rows := func() (all []string) {
		i := session.Query(`SELECT v, etag FROM older.t_notes WHERE id = 'old' ALLOW FILTERING`).Iter()
		for v, etag := "", ""; i.Scan(&v, &etag); {
			all = append(all, v+" "+etag)
		}
		must(t, i.Close())
		slices.Sort(all)
		return all
	}
	wasThere(t, "cassandra://"+addr+"/older", func(d db.DB) {
		finds := func(value string, n int) {
			t.Helper()
			if found, err := d.Search(db.Metadata{"k": value}, 0, 0); err != nil || len(found) != n {
				t.Errorf("%s: found %d, %v", value, len(found), err)
			}
			if found, err := d.Search(nil, 0, 0); err != nil || len(found) != 1 {
				t.Errorf("by id: found %d, %v", len(found), err)
			}
		}
		finds("one", 1)
		must(t, d.Update(db.NewRecord("old", db.Metadata{"k": "one"}, []byte("x"))))
		finds("one", 1)
		if got, want := rows(), []string{"sold first", "sone first"}; !slices.Equal(got, want) {
			t.Errorf("rows %q, want %q", got, want)
		}
		must(t, d.Update(db.NewRecord("old", db.Metadata{"k": "two"}, []byte("x"))))
		finds("one", 0)
		finds("two", 1)
		if got := rows(); len(got) != 2 || got[0] != "sold first" || !strings.HasPrefix(got[1], "stwo ") {
			t.Errorf("rows %q", got)
		}
	})
	if got := rows(); len(got) != 0 {
		t.Errorf("rows %q of a deleted record", got)
	}
	var grace int
	must(t, session.Query(`SELECT gc_grace_seconds FROM system_schema.tables WHERE keyspace_name = 'older' AND table_name = 't_notes'`).Scan(&grace))
	if grace != 10800 {
		t.Errorf("deletions of terms are kept for %d seconds", grace)
	}
}

// olderIndex creates an index of a release before fencing tokens and aliases,
// with a record.
func olderIndex(t *testing.T, addr string) {
	t.Helper()

	send(t, addr, http.MethodDelete, "/older-notes", "")
	if code, _ := send(t, addr, http.MethodPut, "/older-notes", `{"settings":{"index":{"max_result_window":102000}},"mappings":{"dynamic":"strict","properties":{
		"id":{"type":"keyword"},"created":{"type":"long"},"updated":{"type":"long"},"etag":{"type":"keyword"},"metadata":{"type":"binary"},"data":{"type":"binary"},
		"terms":{"type":"nested","properties":{"k":{"type":"keyword"},"v":{"type":"keyword"}}}}}}`); code != http.StatusOK {
		t.Fatal("create index: ", code)
	}
	if code, _ := send(t, addr, http.MethodPut, "/older-notes/_doc/b2xk", `{"id":"old","created":1,"updated":1,"etag":"first","terms":[]}`); code != http.StatusCreated {
		t.Fatal("create document: ", code)
	}
}

func TestOlderElasticsearchIndex(t *testing.T) {
	addr := backend.Elasticsearch(t, backend.Shared).Addr
	olderIndex(t, addr)
	wasThere(t, "elasticsearch://"+addr+"/older", nil)
}

// Where tables are not ours to create they stay as they are.
func TestOlderIndexThatStays(t *testing.T) {
	addr := backend.OpenSearch(t, backend.Shared).Addr
	olderIndex(t, addr)
	net := rpctest.New(t)
	net.Boot(dbsrv.With(t, nil, map[string][]string{"database": {"older=opensearch://" + addr + "/older"}, "create_tables": {"false"}}))
	d := open(t, net, db.Database("older"), db.Table("notes"))
	must(t, d.Update(db.NewRecord("old", db.Metadata{"k": 1}, nil)))
	must(t, d.Create(db.NewRecord("new", db.Metadata{"k": 1}, nil)))
	if found, err := d.Search(db.Metadata{"k": 1}, 0, 0); err != nil || len(found) != 2 {
		t.Errorf("found %d, %v", len(found), err)
	}
	must(t, d.Delete("old"))
	if err := d.Create(db.NewRecord("new", nil, nil), db.InTable("other")); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("a table that is not there: %v", err)
	}
}

// wasThere writes to table notes of a database, which has the record old, and calls
// more in between.
func wasThere(t *testing.T, url string, more func(db.DB)) {
	net := rpctest.New(t)
	net.Boot(dbsrv.With(t, nil, map[string][]string{"database": {"older=" + url}}))
	d := db.NewDB(db.Client(net.Client(rpctest.GRPC)), db.Database("older"), db.Table("notes"))
	must(t, d.Start())
	defer func() { must(t, d.Stop()) }()
	if r, err := d.Read("old"); err != nil || r.ETag() != "first" {
		t.Fatalf("%v, %v", r, err)
	}
	if more != nil {
		more(d)
	}
	must(t, d.Update(db.NewRecord("old", nil, []byte("fenced")), db.Fence(7)))
	if err := d.Update(db.NewRecord("old", nil, nil), db.Fence(6)); !errors.Is(err, db.ErrStale) {
		t.Errorf("a token that is too old: %v", err)
	}
	must(t, d.Delete("old", db.Fence(8)))
	must(t, d.Create(db.NewRecord("new", nil, nil)))
	must(t, d.Delete("new"))
}
