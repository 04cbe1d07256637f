package elastic

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/micro/go-platform/db/internal/srv/driver"
	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/rpcerr"
)

// forChange are the fields of a document that a change looks at.
const forChange = "?_source_includes=etag,created,fence"

// retry tries until no other change comes in between, or ctx ends.
func retry(ctx context.Context, doing string, try func() error) error {
	wait := backoff.Backoff{Min: 2 * time.Millisecond, Max: 100 * time.Millisecond}
	for {
		err := try()
		if status(err) != http.StatusConflict && !noIndex(err) {
			return err
		}
		if err := wait.Wait(ctx); err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
	}
}

// put stores a document in the place of what is held. A status of 409 says that
// something else is there by now, and that this change did not take place: it
// is sent once.
func (s *store) put(ctx context.Context, doing, table, id string, h *held, d any) error {
	if err := s.ready(ctx, table); err != nil {
		return err
	}
	err := s.do(ctx, doing, http.MethodPut, s.at(table, id, h), d, nil)
	if noIndex(err) { // somebody deleted it
		s.known.Delete(table)
	}
	return err
}

// replace puts the record in the place of what is held, and raises its fence.
func (s *store) replace(ctx context.Context, doing, table string, w driver.Write, h *held) error {
	d := toDocument(w.Record)
	d.Fence = max(w.Fence, h.Source.Fence)
	return s.put(ctx, doing, table, d.ID, h, d)
}

func (s *store) Create(ctx context.Context, table string, w driver.Write) error {
	look := w.Fence != "" // without one, what is in the way turns up soon enough
	return retry(ctx, "create", func() error {
		h := &held{}
		if look {
			var err error
			if h, err = s.get(ctx, table, w.Record.ID, forChange); err != nil {
				return err
			}
		}
		switch {
		case h.Source.ETag == w.Record.ETag: // Elasticsearch itself tried twice, as it does when the primary moves
			return nil
		case w.Check(h.Source.Fence) != nil:
			return w.Check(h.Source.Fence)
		case h.there():
			return rpcerr.ErrExists
		}
		look = true
		return s.replace(ctx, "create", table, w, h)
	})
}

func (s *store) Update(ctx context.Context, table string, w driver.Write) (isNew bool, err error) {
	begun := w.Record.Created
	err = retry(ctx, "update", func() error {
		w.Record.Created = begun
		h, err := s.get(ctx, table, w.Record.ID, forChange)
		if err != nil {
			return err
		}
		if h.there() {
			w.Record.Created = h.Source.Created
		}
		switch {
		case h.Source.ETag == w.Record.ETag: // see Create
			return nil
		case w.Check(h.Source.Fence) != nil:
			return w.Check(h.Source.Fence)
		case !h.there() && !w.Upsert:
			return rpcerr.ErrNotFound
		case w.Match != "" && w.Match != h.Source.ETag:
			return rpcerr.ErrConflict
		}
		isNew = !h.there()
		return s.replace(ctx, "update", table, w, h)
	})
	return isNew, err
}

func (s *store) Delete(ctx context.Context, table string, w driver.Write) error {
	return retry(ctx, "delete", func() error {
		h, err := s.get(ctx, table, w.Record.ID, forChange)
		switch {
		case err != nil:
			return err
		case w.Check(h.Source.Fence) != nil:
			return w.Check(h.Source.Fence)
		case !h.there():
			return rpcerr.ErrNotFound
		case w.Match != "" && w.Match != h.Source.ETag:
			return rpcerr.ErrConflict
		}
		return s.remove(ctx, table, w.Record.ID, h, max(w.Fence, h.Source.Fence))
	})
}

// remove deletes a document, or leaves nothing of it but the fence.
func (s *store) remove(ctx context.Context, table, id string, h *held, fence string) error {
	if fence != "" {
		return s.put(ctx, "delete", table, id, h, object{"fence": fence})
	}
	params := url.Values{}
	h.only(params)
	return s.do(ctx, "delete", http.MethodDelete, place(s.index(table), "_doc", id)+"?"+params.Encode(), nil, nil)
}
