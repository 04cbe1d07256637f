package elastic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/micro/go-platform/db/internal/srv/driver"
	"github.com/micro/go-platform/internal/rpcerr"
)

// server stands for Elasticsearch where a real one does not do as it is told.
type server struct {
	mu      sync.Mutex
	calls   map[string]int // by method
	answer  http.HandlerFunc
	written int // bytes of hits
}

// ServeHTTP handles one call at a time.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // of no interest
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path == "/" {
		say(w, "{}")
		return
	}
	s.calls[r.Method]++
	s.answer(w, r)
}

func say(w io.Writer, text string) { _, _ = io.WriteString(w, text) } // else the client complains

// use changes what is answered.
func (s *server) use(answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *server) count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

const one = `{"_seq_no":1,"_primary_term":1,"_source":{"etag":"e","id":"a"}}`

func serve(t *testing.T) (driver.Store, *server) {
	t.Helper()
	s := &server{calls: make(map[string]int)}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	opened, err := Open(t.Context(), driver.Config{Hosts: []string{strings.TrimPrefix(h.URL, "http://")}, Database: "x"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() }) // nothing to flush
	return opened, s
}

// A change that was sent is not sent again, whatever became of it.
func TestChangesAreSentOnce(t *testing.T) {
	for name, fail := range map[string]http.HandlerFunc{
		"unavailable": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"cut off":     func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			opened, s := serve(t)
			s.use(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodGet:
					say(w, one)
				case r.Method == http.MethodPut && r.URL.Path == "/x-t":
					say(w, "{}")
				default:
					fail(w, r)
				}
			})
			w := driver.Write{Record: &driver.Record{ID: "a", ETag: "f"}, Match: "e"}
			if err := opened.Delete(t.Context(), "t", w); !errors.Is(err, driver.ErrUnavailable) {
				t.Errorf("delete: %v, want ErrUnavailable", err)
			}
			if _, err := opened.Update(t.Context(), "t", w); !errors.Is(err, driver.ErrUnavailable) {
				t.Errorf("update: %v, want ErrUnavailable", err)
			}
			if d, p := s.count(http.MethodDelete), s.count(http.MethodPut); d != 1 || p != 2 {
				t.Errorf("%d deletions, want 1; %d writes, want the index and one record", d, p)
			}
		})
	}
}

// A deletion that lost against another one is not a success.
func TestDeletionOfAnother(t *testing.T) {
	opened, s := serve(t)
	s.use(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusConflict)
		case s.calls[http.MethodDelete] > 0:
			w.WriteHeader(http.StatusNotFound)
		default:
			say(w, one)
		}
	})
	err := opened.Delete(t.Context(), "t", driver.Write{Record: &driver.Record{ID: "a", ETag: "f"}, Match: "e"})
	if !errors.Is(err, rpcerr.ErrNotFound) {
		t.Errorf("%v, want ErrNotFound", err)
	}
}

// Reads are tried again.
func TestReadsAreTriedAgain(t *testing.T) {
	opened, s := serve(t)
	s.use(func(w http.ResponseWriter, r *http.Request) {
		if s.calls[r.Method] < tries {
			panic(http.ErrAbortHandler)
		}
		say(w, one)
	})
	if r, err := opened.Read(t.Context(), "t", "a", false); err != nil || r.ID != "a" {
		t.Errorf("%v, %v", r, err)
	}
}

// large answers searches with large hits: n bytes of them, or those the client
// reads.
func (s *server) large(n int) http.HandlerFunc {
	hit := fmt.Sprintf(`{"_source":{"id":"a","etag":"e","data":"%s"},"sort":["a"]}`, strings.Repeat("AAAA", 1<<18))
	return func(w http.ResponseWriter, _ *http.Request) {
		say(w, `{"took":1,"_shards":{"hits":1},"hits":{"max_score":null,"hits":[`)
		separator := ""
		for sent := 0; sent < n; separator = "," {
			written, err := io.WriteString(w, separator+hit)
			sent += written
			s.written += written
			if err != nil {
				return
			}
		}
	}
}

// What exceeds the bound is not read, and an answer that is too long or has no
// end is an error that says so.
func TestLargeAnswers(t *testing.T) {
	opened, s := serve(t)
	q := driver.Query{Limit: driver.MaxChunk, Bytes: 8 << 20, Eventual: true}
	s.use(s.large(maxAnswer))
	found, err := opened.Search(t.Context(), "t", q)
	if err != nil || len(found) != 11 { // of 3 quarters of a MiB each
		t.Errorf("%d found, %v", len(found), err)
	}
	s.use(s.large(3 << 20)) // when the one before has noticed that nobody reads
	if s.written > 64<<20 {
		t.Errorf("%d bytes were sent for an answer of %d", s.written, q.Bytes)
	}
	if _, err = opened.Search(t.Context(), "t", q); !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("an answer that is cut off: %v, want ErrUnavailable", err)
	}
	s.use(func(w http.ResponseWriter, _ *http.Request) { say(w, strings.Repeat(" ", maxDocument+1)) })
	if _, err = opened.Read(t.Context(), "t", "a", false); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a document that is too long: %v", err)
	}
	s.use(func(w http.ResponseWriter, _ *http.Request) { say(w, "<html>") })
	for what, err := range map[string]error{"read": errOf(opened.Read(t.Context(), "t", "a", false)), "search": errOf(opened.Search(t.Context(), "t", q))} {
		if err == nil || !strings.Contains(err.Error(), "no JSON") {
			t.Errorf("%s: %v", what, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = opened.Search(ctx, "t", q); !errors.Is(err, context.Canceled) {
		t.Errorf("a search that was given up: %v", err)
	}
}

func errOf[T any](_ T, err error) error { return err }

// An index of which a shard is missing is not searched in part: no answer is
// better than one that leaves records out.
func TestSearchIsOfAllShards(t *testing.T) {
	opened, s := serve(t)
	s.use(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !strings.HasSuffix(r.URL.Path, "/_search"):
			say(w, "{}")
		case r.URL.Query().Get("allow_partial_search_results") == "false":
			w.WriteHeader(http.StatusServiceUnavailable)
			say(w, `{"error":{"type":"search_phase_execution_exception"}}`)
		default:
			say(w, `{"_shards":{"failed":1},"hits":{"hits":[]}}`)
		}
	})
	if _, err := opened.Search(t.Context(), "t", driver.Query{Limit: 1, Bytes: 1}); !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}
