package elastic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/micro/go-platform/db/internal/srv/driver"
)

// A search costs what matches it, however few records it returns. A long page
// takes one search for the places of its records, and then only looks up their
// documents, some at a time, since nobody knows how large they are. In between
// nothing must change: both take place at one point in time.

const (
	keepAlive   = "1m" // of a point in time, after each request
	thawTimeout = 2 * time.Second
)

// frozen is a point in time.
type frozen struct {
	store *store
	id    string
}

// errUnfrozen is returned by a server that gives no point in time: too old, without
// the licence, or out of them. There are other ways to search.
var errUnfrozen = errors.New("no point in time")

func (s *store) freeze(ctx context.Context, table string) (*frozen, error) {
	path := s.index(table) + "/_pit?keep_alive=" + keepAlive
	if s.open.Load() {
		path = s.index(table) + "/_search/point_in_time?keep_alive=" + keepAlive
	}
	var opened struct {
		ID   string `json:"id"`
		Open string `json:"pit_id"` // OpenSearch
	}
	err := s.do(ctx, "open point in time", http.MethodPost, path, nil, &opened)
	if code := status(err); code/100 == 4 && !noIndex(err) {
		return nil, fmt.Errorf("%w: %w", errUnfrozen, err)
	}
	if err != nil {
		return nil, err
	}
	f := &frozen{s, opened.ID + opened.Open}
	if f.id == "" {
		return nil, errUnfrozen
	}
	return f, nil
}

// thaw gives the point in time back, or else its time does.
func (f *frozen) thaw(ctx context.Context) {
	path, body := "/_pit", object{"id": f.id}
	if f.store.open.Load() {
		path, body = "/_search/point_in_time", object{"pit_id": []string{f.id}}
	}
	ctx = context.WithoutCancel(ctx)
	ctx, cancel := context.WithTimeout(ctx, thawTimeout)
	defer cancel()
	_ = f.store.do(ctx, "close point in time", http.MethodDelete, path, body, nil) // it ends by itself
}

// page fills a page at one point in time.
func (s *store) page(ctx context.Context, table string, q driver.Query) ([]*driver.Record, error) {
	f, err := s.freeze(ctx, table)
	if err != nil {
		return nil, err
	}
	defer f.thaw(ctx)
	ids, err := f.places(ctx, q)
	if err != nil {
		return nil, err
	}
	var page driver.Page
	for n := driver.FirstChunk; len(ids) > 0; n = min(2*n, driver.MaxChunk) {
		part := ids[:min(n, len(ids))]
		full := false
		err := f.search(ctx, documents(q, part), func(h *held) bool {
			full = page.Add(q, h.Source.record())
			return !full
		})
		if err != nil || full {
			return page.Records, err
		}
		ids = ids[len(part):]
	}
	return page.Records, nil
}

// places returns the ids of the records of a page.
func (f *frozen) places(ctx context.Context, q driver.Query) (ids []string, err error) {
	b := body(q)
	b["_source"], b["stored_fields"] = false, "_none_"
	err = f.search(ctx, b, func(h *held) bool {
		ids = append(ids, h.place(q))
		return true
	})
	return ids, err
}

// documents is a search for the records with these ids.
func documents(q driver.Query, ids []string) object {
	q.After, q.Where, q.Offset, q.Limit = nil, nil, 0, len(ids)
	b := body(q)
	b["query"] = object{"bool": object{"filter": []object{{"terms": object{"id": ids}}}}}
	return b
}

func (f *frozen) search(ctx context.Context, b object, each func(*held) bool) error {
	b["pit"] = object{"id": f.id, "keep_alive": keepAlive}
	return f.store.find(ctx, "", b, each)
}
