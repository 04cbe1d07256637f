package elastic

import (
	"context"
	"net/http"

	"github.com/micro/go-platform/internal/srv/db/driver"
)

func (s *store) Search(ctx context.Context, table string, q driver.Query) ([]*driver.Record, error) {
	if !q.Eventual {
		// Searches see what was written before the last refresh, which comes once
		// a second, and at once when there is nothing new.
		if err := s.do(ctx, "refresh", http.MethodPost, s.index(table)+"/_refresh", nil, nil); err != nil && !noIndex(err) {
			return nil, err
		}
	}
	var answer struct {
		Hits struct{ Hits []held }
	}
	err := s.do(ctx, "search", http.MethodPost, s.index(table)+"/_search", body(q), &answer)
	if noIndex(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := make([]*driver.Record, 0, len(answer.Hits.Hits))
	for _, h := range answer.Hits.Hits {
		found = append(found, h.Source.record())
	}
	return found, nil
}

// body writes a search in JSON, where nothing of the caller's can be anything
// but a value.
func body(q driver.Query) object {
	filters := []object{{"exists": object{"field": "id"}}} // not what is left of a deleted record
	for _, c := range q.Where {
		value := object{"term": object{"terms.v": c.Low}}
		if !c.Exact {
			value = object{"range": object{"terms.v": object{"gte": c.Low, "lt": c.High}}}
		}
		filters = append(filters, nested(isKey(c.Key), value))
	}
	order := "asc"
	if q.Reverse {
		order = "desc"
	}
	sort := []object{{"id": object{"order": order}}}
	if q.Order != "" {
		filters = append(filters, nested(isKey(q.Order)))
		sort = append([]object{{"terms.v": object{
			"order": order, "nested": object{"path": "terms", "filter": isKey(q.Order)},
		}}}, sort...)
	}
	b := object{
		"size": q.Limit, "query": object{"bool": object{"filter": filters}}, "sort": sort,
		"track_total_hits": false, "_source": object{"excludes": []string{"terms"}},
	}
	switch {
	case q.After != nil && q.Order != "":
		b["search_after"] = []string{q.After.Value, q.After.ID}
	case q.After != nil:
		b["search_after"] = []string{q.After.ID}
	default:
		b["from"] = q.Offset // never together with search_after
	}
	return b
}

func isKey(key string) object { return object{"term": object{"terms.k": key}} }

// nested wants one nested document that fulfils all.
func nested(filters ...object) object {
	return object{"nested": object{"path": "terms", "query": object{"bool": object{"filter": filters}}}}
}
