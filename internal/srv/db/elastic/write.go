package elastic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/srv/db/driver"
)

// forChange are the fields of a document that a change looks at.
const forChange = "?_source_includes=etag,created"

func (s *store) Create(ctx context.Context, table string, w driver.Write) error {
	if err := s.ready(ctx, table); err != nil {
		return err
	}
	err := s.do(ctx, "create", http.MethodPut, s.document(table, "_create", w.Record.ID), toDocument(w.Record), nil)
	if status(err) != http.StatusConflict {
		return err
	}
	// A try whose answer was lost may have been ours.
	if h, err := s.get(ctx, table, w.Record.ID, forChange); err == nil && h.Source.ETag == w.Record.ETag {
		return nil
	}
	return rpcerr.ErrExists
}

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

func (s *store) Update(ctx context.Context, table string, w driver.Write) (isNew bool, err error) {
	begun := w.Record.Created
	err = retry(ctx, "update", func() (bool, error) {
		h, err := s.get(ctx, table, w.Record.ID, forChange)
		if errors.Is(err, rpcerr.ErrNotFound) && w.Upsert {
			isNew, w.Record.Created = true, begun
			err := s.Create(ctx, table, w)
			return errors.Is(err, rpcerr.ErrExists), err
		}
		switch {
		case err != nil:
			return false, err
		case h.Source.ETag == w.Record.ETag: // a try before did take place
			w.Record.Created = h.Source.Created
			return false, nil
		case w.Match != "" && w.Match != h.Source.ETag:
			return false, rpcerr.ErrConflict
		}
		isNew, w.Record.Created = false, h.Source.Created
		err = s.do(ctx, "update", http.MethodPut, s.document(table, "_doc", w.Record.ID)+h.version(), toDocument(w.Record), nil)
		return status(err) == http.StatusConflict, err
	})
	return isNew, err
}

func (s *store) Delete(ctx context.Context, table string, w driver.Write) error {
	tried := false
	return retry(ctx, "delete", func() (bool, error) {
		h, err := s.get(ctx, table, w.Record.ID, forChange)
		switch {
		case errors.Is(err, rpcerr.ErrNotFound) && tried:
			return false, nil // by us, or by another at the same time
		case err != nil:
			return false, err
		case w.Match != "" && w.Match != h.Source.ETag:
			return false, rpcerr.ErrConflict
		}
		err = s.do(ctx, "delete", http.MethodDelete, s.document(table, "_doc", w.Record.ID)+h.version(), nil, nil)
		tried = status(err) == http.StatusConflict || status(err) == http.StatusNotFound
		return tried, err
	})
}
