package elastic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/micro/go-platform/db/internal/srv/driver"
)

func (s *store) Search(ctx context.Context, table string, q driver.Query) ([]*driver.Record, error) {
	if !q.Eventual {
		// Searches see what was written before the last refresh, which comes once
		// a second, and at once when there is nothing new.
		if err := s.do(ctx, "refresh", http.MethodPost, s.index(table)+"/_refresh", nil, nil); err != nil && !noIndex(err) {
			return nil, err
		}
	}
	if q.Limit > driver.MaxChunk {
		found, err := s.page(ctx, table, q)
		switch {
		case noIndex(err):
			return nil, nil
		case !errors.Is(err, errUnfrozen):
			return found, err
		}
	}
	found, err := q.Chunks(func(q driver.Query, each func(*driver.Record, string) bool) error {
		return s.search(ctx, table, q, each)
	})
	if noIndex(err) {
		return nil, nil
	}
	return found, err
}

func (s *store) search(ctx context.Context, table string, q driver.Query, each func(*driver.Record, string) bool) error {
	return s.find(ctx, s.index(table), body(q), func(h *held) bool {
		value := ""
		if q.Order != "" {
			value = h.sorted(0)
		}
		return each(h.Source.record(), value)
	})
}

// find sends a search of an index, or of a point in time, which has one.
func (s *store) find(ctx context.Context, index string, b object, each func(*held) bool) error {
	// Without the parameter the records of a shard that fails are left out in silence.
	rsp, err := s.ask(ctx, "search", http.MethodPost, index+"/_search?allow_partial_search_results=false", b)
	if err != nil {
		return err
	}
	defer func() { _ = rsp.Body.Close() }() // read to its end, or given up with the connection
	return unread(ctx, "search", hits(http.MaxBytesReader(nil, rsp.Body, maxAnswer), each))
}

// hits reads the answer to a search hit by hit, until each returns false.
func hits(r io.Reader, each func(*held) bool) error {
	d := json.NewDecoder(r)
	for _, key := range []string{"hits", "hits"} {
		if err := enter(d, key); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil { // of the list
		return err
	}
	for d.More() {
		h := &held{}
		if err := d.Decode(h); err != nil {
			return err
		}
		if !each(h) {
			return nil
		}
	}
	if _, err := d.Token(); err != nil { // no more, or no end?
		return err
	}
	_, err := io.Copy(io.Discard, r) // else the connection could not be used again
	return err
}

// enter goes on to the value of a key of the object that comes next.
func enter(d *json.Decoder, key string) error {
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		found, err := d.Token()
		if err != nil || found == key {
			return err
		}
		var other json.RawMessage
		if err := d.Decode(&other); err != nil {
			return err
		}
	}
	return fmt.Errorf("no %s in the answer", key)
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
	order, beyond := "asc", "gt"
	if q.Reverse {
		order, beyond = "desc", "lt"
	}
	if q.After != nil && q.Order == "" { // without it the records before the cursor are sorted, too
		filters[0] = object{"range": object{"id": object{beyond: q.After.ID}}}
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
