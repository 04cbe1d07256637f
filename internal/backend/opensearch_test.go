package backend_test

import (
	"net/http"
	"testing"

	"github.com/micro/go-platform/internal/backend"
)

func TestOpenSearch(t *testing.T) { search(t, backend.OpenSearch(t)) }

func TestElasticsearch(t *testing.T) { search(t, backend.Elasticsearch(t)) }

func search(t *testing.T, s *backend.Server) {
	call(t, http.MethodPut, s.URL+"/shop/_doc/1?refresh=true", `{"name":"Zoë","age":41}`, http.StatusCreated)
	find := func() {
		t.Helper()
		var found struct {
			Hits struct {
				Hits []struct {
					Source struct{ Name string } `json:"_source"`
				}
			}
		}
		if err := getJSON(t, s.URL+"/shop/_search?q=age:%3E40", &found); err != nil {
			t.Fatal(err)
		}
		if hits := found.Hits.Hits; len(hits) != 1 || hits[0].Source.Name != "Zoë" {
			t.Fatalf("hits = %v; want Zoë", hits)
		}
	}
	find()
	s.Kill(t)
	s.Restart(t)
	find()
}
