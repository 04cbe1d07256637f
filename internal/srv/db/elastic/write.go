package elastic

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/srv/db/driver"
)

// forChange are the fields of a document that a change looks at.
const forChange = "?_source_includes=etag,created,fence"

// retry tries until no other change comes in between, or ctx ends.
func retry(ctx context.Context, doing string, try func() (again bool, err error)) error {
	wait := backoff.Backoff{Min: 2 * time.Millisecond, Max: 100 * time.Millisecond}
	for {
		again, err := try()
		if !again {
			return err
		}
		if err := wait.Wait(ctx); err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
	}
}

// put stores the record in the place of what is held, and raises its fence. A
// status of 409 says that something else is there by now.
func (s *store) put(ctx context.Context, doing, table string, w driver.Write, h *held) error {
	d := toDocument(w.Record)
	d.Fence = max(w.Fence, h.Source.Fence)
	if err := s.ready(ctx, table); err != nil { // old indices have to learn the field of the fence
		return err
	}
	return s.do(ctx, doing, http.MethodPut, s.at(table, w.Record.ID, h), d, nil)
}

// at is the path of a change that takes place only while h is what is there.
func (s *store) at(table, id string, h *held) string {
	if h.Term == 0 {
		return s.document(table, "_create", id)
	}
	return s.document(table, "_doc", id) + fmt.Sprintf("?if_seq_no=%d&if_primary_term=%d", h.Sequence, h.Term)
}

func (s *store) Create(ctx context.Context, table string, w driver.Write) error {
	look := w.Fence != "" // without one, what is in the way turns up soon enough
	return retry(ctx, "create", func() (bool, error) {
		h := &held{}
		if look {
			var err error
			if h, err = s.get(ctx, table, w.Record.ID, forChange); err != nil {
				return false, err
			}
		}
		switch {
		case h.Source.ETag == w.Record.ETag: // a try whose answer was lost did take place
			return false, nil
		case w.Check(h.Source.Fence) != nil:
			return false, w.Check(h.Source.Fence)
		case h.there():
			return false, rpcerr.ErrExists
		}
		look = true
		err := s.put(ctx, "create", table, w, h)
		return status(err) == http.StatusConflict, err
	})
}

func (s *store) Update(ctx context.Context, table string, w driver.Write) (isNew bool, err error) {
	begun := w.Record.Created
	err = retry(ctx, "update", func() (bool, error) {
		w.Record.Created = begun
		h, err := s.get(ctx, table, w.Record.ID, forChange)
		if err != nil {
			return false, err
		}
		if h.there() {
			w.Record.Created = h.Source.Created
		}
		switch {
		case h.Source.ETag == w.Record.ETag: // a try before did take place
			return false, nil
		case w.Check(h.Source.Fence) != nil:
			return false, w.Check(h.Source.Fence)
		case !h.there() && !w.Upsert:
			return false, rpcerr.ErrNotFound
		case w.Match != "" && w.Match != h.Source.ETag:
			return false, rpcerr.ErrConflict
		}
		isNew = !h.there()
		err = s.put(ctx, "update", table, w, h)
		return status(err) == http.StatusConflict, err
	})
	return isNew, err
}

func (s *store) Delete(ctx context.Context, table string, w driver.Write) error {
	tried := false
	return retry(ctx, "delete", func() (bool, error) {
		h, err := s.get(ctx, table, w.Record.ID, forChange)
		switch {
		case err != nil:
			return false, err
		case w.Check(h.Source.Fence) != nil:
			return false, w.Check(h.Source.Fence)
		case !h.there() && tried:
			return false, nil // by us, or by another at the same time
		case !h.there():
			return false, rpcerr.ErrNotFound
		case w.Match != "" && w.Match != h.Source.ETag:
			return false, rpcerr.ErrConflict
		}
		err = s.remove(ctx, table, s.at(table, w.Record.ID, h), max(w.Fence, h.Source.Fence))
		tried = status(err) == http.StatusConflict || status(err) == http.StatusNotFound
		return tried, err
	})
}

// remove deletes a document, or leaves nothing of it but the fence.
func (s *store) remove(ctx context.Context, table, path, fence string) error {
	if fence == "" {
		return s.do(ctx, "delete", http.MethodDelete, path, nil, nil)
	}
	if err := s.ready(ctx, table); err != nil {
		return err
	}
	return s.do(ctx, "delete", http.MethodPut, path, object{"fence": fence}, nil)
}
