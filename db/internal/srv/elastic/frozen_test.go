package elastic

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/micro/go-platform/db/internal/srv/driver"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(backend.StopAfter(m)) }

// filled returns a table of n records, of which every second has the mark "a".
func filled(t *testing.T, addr string, n int) *store {
	t.Helper()
	opened, err := Open(t.Context(), driver.Config{Hosts: []string{addr}, Database: "frozen"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() }) // nothing to flush
	for i := range n {
		r := &driver.Record{ID: fmt.Sprintf("id%03d", i*7%n), ETag: "e", Data: []byte("x"), Terms: []driver.Term{
			{Key: "mark", Value: []string{"a", "b"}[i%2]}, {Key: "n", Value: fmt.Sprintf("n%02d", i%100)},
		}}
		if err := opened.Create(t.Context(), "t", driver.Write{Record: r}); err != nil {
			t.Fatal(err)
		}
	}
	return opened.(*store)
}

func idsOf(found []*driver.Record) (ids []string) {
	for _, r := range found {
		ids = append(ids, r.ID)
	}
	return ids
}

// A long page is what many short searches find, on both kinds of servers, and is of
// one moment.
func TestLongPages(t *testing.T) {
	for name, addr := range map[string]string{
		"opensearch": backend.OpenSearch(t, backend.Shared).Addr, "elasticsearch": backend.Elasticsearch(t, backend.Shared).Addr,
	} {
		t.Run(name, func(t *testing.T) {
			const n = 300
			s := filled(t, addr, n)
			marked := []driver.Condition{{Key: "mark", Low: "a", Exact: true}}
			for what, q := range map[string]driver.Query{
				"all": {}, "reverse": {Reverse: true}, "order": {Order: "n"}, "order reversed": {Order: "n", Reverse: true},
				"where": {Where: marked}, "where in order": {Where: marked, Order: "n"}, "offset": {Offset: 17},
				"after": {After: &driver.Cursor{ID: "id050"}}, "after in order": {Order: "n", After: &driver.Cursor{Value: "n50", ID: "id050"}},
			} {
				q.Limit, q.Bytes = n, 1<<20
				want, err := s.Search(t.Context(), "t", q) // refreshes
				if err != nil {
					t.Fatal(err)
				}
				long, err := s.page(t.Context(), "t", q)
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				short, err := q.Chunks(func(q driver.Query, each func(*driver.Record, string) bool) error {
					return s.search(t.Context(), "t", q, each)
				})
				if err != nil || len(short) < 100 {
					t.Fatalf("%s: %d, %v", what, len(short), err)
				}
				if !slices.Equal(idsOf(long), idsOf(short)) || !slices.Equal(idsOf(want), idsOf(short)) {
					t.Errorf("%s: %d in a long page, %d in short ones: %v\n%v", what, len(long), len(short), idsOf(long), idsOf(short))
				}
			}
			oneMoment(t, s, driver.Query{Limit: n, Bytes: 1 << 20})
		})
	}
}

func oneMoment(t *testing.T, s *store, q driver.Query) {
	f, err := s.freeze(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	defer f.thaw(t.Context())
	if err := s.Delete(t.Context(), "t", driver.Write{Record: &driver.Record{ID: "id007", ETag: "d"}}); err != nil {
		t.Fatal(err)
	}
	if found, err := s.Search(t.Context(), "t", q); err != nil || len(found) != q.Limit-1 {
		t.Errorf("after the deletion: %d, %v", len(found), err)
	}
	ids, err := f.places(t.Context(), q)
	if err != nil || len(ids) != q.Limit {
		t.Fatalf("at the moment before: %d, %v", len(ids), err)
	}
	got := 0
	if err := f.search(t.Context(), documents(q, ids[:20]), func(*held) bool { got++; return true }); err != nil || got != 20 {
		t.Errorf("%d documents, %v", got, err)
	}
}

// A server that gives no point in time is searched without.
func TestNoPointInTime(t *testing.T) {
	opened, s := serve(t)
	for name, refuse := range map[string]http.HandlerFunc{
		"unknown": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			say(w, `{"error":{"type":"illegal_argument_exception"}}`)
		},
		"forbidden": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"too many":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"nonsense":  func(w http.ResponseWriter, _ *http.Request) { say(w, "{}") },
	} {
		s.use(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/_pit") {
				refuse(w, r)
				return
			}
			_, _ = io.WriteString(w, `{"hits":{"hits":[`+one+`]}}`) // else the client complains
		})
		found, err := opened.Search(t.Context(), "t", driver.Query{Limit: 1000, Bytes: 1 << 20, Eventual: true})
		if err != nil || len(found) != 1 {
			t.Errorf("%s: %d found, %v", name, len(found), err)
		}
	}
}
