package memory

import (
	"context"
	"slices"
	"sync"

	"github.com/micro/go-platform/db/internal/srv/driver"
	"github.com/micro/go-platform/internal/rpcerr"
)

// store is one database.
type store struct {
	mu     sync.RWMutex
	tables map[string]*table
}

type table struct {
	records map[string]*driver.Record // never changed, only replaced
	fences  map[string]string
}

// find returns the table, an empty one that is not kept when there is none.
func (s *store) find(name string) *table {
	if t := s.tables[name]; t != nil {
		return t
	}
	return &table{records: make(map[string]*driver.Record), fences: make(map[string]string)}
}

// handOut returns a copy that shares no data with the record.
func handOut(r *driver.Record) *driver.Record {
	c := *r
	c.Data = slices.Clone(r.Data)
	return &c
}

func (s *store) Read(ctx context.Context, name, id string, _ bool) (*driver.Record, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := s.find(name).records[id]
	if r == nil {
		return nil, rpcerr.ErrNotFound
	}
	return handOut(r), nil
}

// change carries out a write once check has nothing against the record that is
// there, nil for none. A stored record of nil is one that was deleted.
func (s *store) change(ctx context.Context, name string, w driver.Write, check func(was *driver.Record) (stored *driver.Record, err error)) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, id := s.find(name), w.Record.ID
	if err := w.Check(t.fences[id]); err != nil {
		return err
	}
	stored, err := check(t.records[id])
	if err != nil {
		return err
	}
	if w.Fence != "" {
		t.fences[id] = w.Fence
	}
	if stored == nil {
		delete(t.records, id)
	} else {
		t.records[id] = handOut(stored)
	}
	s.tables[name] = t
	return nil
}

func (s *store) Create(ctx context.Context, name string, w driver.Write) error {
	return s.change(ctx, name, w, func(was *driver.Record) (*driver.Record, error) {
		if was != nil {
			return nil, rpcerr.ErrExists
		}
		return w.Record, nil
	})
}

func (s *store) Update(ctx context.Context, name string, w driver.Write) (created bool, err error) {
	err = s.change(ctx, name, w, func(was *driver.Record) (*driver.Record, error) {
		if created = was == nil; created && w.Upsert {
			return w.Record, nil
		}
		if err := matches(was, w); err != nil {
			return nil, err
		}
		w.Record.Created = was.Created
		return w.Record, nil
	})
	return created, err
}

func (s *store) Delete(ctx context.Context, name string, w driver.Write) error {
	return s.change(ctx, name, w, func(was *driver.Record) (*driver.Record, error) {
		return nil, matches(was, w)
	})
}

func matches(was *driver.Record, w driver.Write) error {
	switch {
	case was == nil:
		return rpcerr.ErrNotFound
	case w.Match != "" && w.Match != was.ETag:
		return rpcerr.ErrConflict
	}
	return nil
}

func (s *store) Search(ctx context.Context, name string, q driver.Query) ([]*driver.Record, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	s.mu.RLock()
	var found []*driver.Record
	for _, r := range s.find(name).records {
		if q.Matches(r) {
			found = append(found, r)
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(found, q.Compare)
	found = found[min(q.Offset, len(found)):]
	var page driver.Page
	for _, r := range found {
		if page.Add(q, handOut(r)) {
			break
		}
	}
	return page.Records, nil
}

// Changed does nothing: there is nobody to tell.
func (s *store) Changed(string, string, driver.Write) {}

func (s *store) Ping(context.Context) error { return nil }

func (s *store) Close() error { return nil }
