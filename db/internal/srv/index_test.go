package srv_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/db/dbtest"
	dbsrv "github.com/micro/go-platform/db/internal/srv"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
)

// send asks a search engine directly.
func send(t *testing.T, addr, method, path, body string) (code int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, strings.NewReader(body))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Close = true
	rsp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer func() { _ = rsp.Body.Close() }() // read
	data, err := io.ReadAll(rsp.Body)
	must(t, err)
	return rsp.StatusCode, string(data)
}

// deletedIndex deletes an index that db-srv knows, and takes its alias away: the
// next write makes it what it was.
func deletedIndex(t *testing.T, addr string) {
	prefix := dbtest.NewName("index")
	net := rpctest.New(t)
	net.Boot(dbsrv.With(t, nil, map[string][]string{"database": {"index=elasticsearch://" + addr + "/" + prefix}}))
	d := open(t, net, db.Database("index"), db.Table("notes"))
	index := "/" + prefix + "-notes"
	record := func(n int) db.Record { return db.NewRecord("a", db.Metadata{"k": n}, []byte("text")) }
	for n, write := range []func() error{
		func() error { return d.Create(record(0)) },
		func() error { return d.Create(record(1)) },
		func() error { return d.Update(record(2), db.Upsert()) },
		func() error { return d.Update(record(3), db.Upsert(), db.Fence(3)) },
	} {
		must(t, write())
		found, err := d.Search(nil, 0, 0, db.Where("k", db.AtLeast, 0), db.OrderBy("k"))
		if err != nil || len(found) != 1 || found[0].Metadata()["k"] != int64(n) {
			t.Fatalf("write %d: found %v, %v", n, found, err)
		}
		if _, mapping := send(t, addr, http.MethodGet, index+"/_mapping", ""); !strings.Contains(mapping, `"dynamic":"strict"`) {
			t.Fatalf("write %d: the mapping is a guess: %s", n, mapping)
		}
		send(t, addr, http.MethodDelete, index, "")
	}
	must(t, d.Create(record(4)))
	if code, answer := send(t, addr, http.MethodDelete, index+"/_alias/*", ""); code != http.StatusOK {
		t.Fatal(answer)
	}
	must(t, d.Update(record(5)))
	send(t, addr, http.MethodDelete, index, "")
	for what, err := range map[string]error{"update": d.Update(record(6)), "delete": d.Delete("a")} {
		if !errors.Is(err, db.ErrNotFound) {
			t.Errorf("%s without an index: %v", what, err)
		}
	}
}

func TestDeletedIndexOfOpenSearch(t *testing.T) {
	deletedIndex(t, backend.OpenSearch(t, backend.Shared).Addr)
}

func TestDeletedIndexOfElasticsearch(t *testing.T) {
	deletedIndex(t, backend.Elasticsearch(t, backend.Shared).Addr)
}

// Where tables are not ours to create, an index of the operator's stays as it
// is: it needs no alias and gets none.
func TestIndexOfTheOperator(t *testing.T) {
	addr := backend.OpenSearch(t, backend.Shared).Addr
	prefix := dbtest.NewName("operator")
	index := "/" + prefix + "-notes"
	if code, answer := send(t, addr, http.MethodPut, index, `{"settings":{"index":{"max_result_window":102000}},"mappings":{"dynamic":"strict","properties":{
		"id":{"type":"keyword"},"created":{"type":"long"},"updated":{"type":"long"},"etag":{"type":"keyword"},"metadata":{"type":"binary"},"data":{"type":"binary"},
		"fence":{"type":"keyword"},"terms":{"type":"nested","properties":{"k":{"type":"keyword"},"v":{"type":"keyword"}}}}}}`); code != http.StatusOK {
		t.Fatal(answer)
	}
	net := rpctest.New(t)
	net.Boot(dbsrv.With(t, nil, map[string][]string{"database": {"index=opensearch://" + addr + "/" + prefix}, "create_tables": {"false"}}))
	d := open(t, net, db.Database("index"), db.Table("notes"))
	must(t, d.Create(db.NewRecord("a", db.Metadata{"k": 1}, nil)))
	must(t, d.Update(db.NewRecord("a", db.Metadata{"k": 1}, nil), db.Fence(7)))
	must(t, d.Create(db.NewRecord("b", db.Metadata{"k": 1}, nil)))
	if found, err := d.Search(db.Metadata{"k": 1}, 0, 0); err != nil || len(found) != 2 {
		t.Errorf("found %d, %v", len(found), err)
	}
	must(t, d.Delete("b"))
	if code, answer := send(t, addr, http.MethodHead, index+"-write", ""); code != http.StatusNotFound {
		t.Errorf("it has an alias: %d %s", code, answer)
	}
	if err := d.Create(db.NewRecord("a", nil, nil), db.InTable("other")); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("a table that is not there: %v", err)
	}
}
