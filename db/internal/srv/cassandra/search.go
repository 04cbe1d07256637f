package cassandra

import (
	"context"
	"errors"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"golang.org/x/sync/errgroup"

	"github.com/micro/go-platform/db/internal/srv/driver"
)

// batchSize is how many records are read and checked at once, readers by how
// many at a time.
const (
	batchSize = 16
	readers   = 8
)

// Search walks the terms of one key in order and checks each record that they
// lead to: terms of states that are over, and records that another condition
// rules out, are passed over. It takes the key to order by, else a condition
// that only one value fulfils, else the few rows that a range finds, see few, else
// the ids.
//
// Whoever changes a record adds terms before and removes them after, so the walk
// meets every record whose term of that key stays what it is. It may meet it
// twice, or by a term of a state that was over and is back.
func (s *store) Search(ctx context.Context, table string, q driver.Query) ([]*driver.Record, error) {
	found, err := s.search(ctx, table, q)
	if err = wrap(ctx, "search", err); errors.Is(err, driver.ErrNoTable) {
		return nil, nil
	}
	return found, err
}

func (s *store) search(ctx context.Context, table string, q driver.Query) ([]*driver.Record, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := s.walk(ctx, table, q)
	if err != nil {
		return nil, err
	}
	defer w.close()
	var page driver.Page
	seen := make(map[string]bool)
	for {
		places, err := w.next(min(batchSize, max(q.Offset+q.Limit-len(seen), 4)))
		if err != nil || len(places) == 0 {
			return page.Records, err
		}
		records, err := s.check(ctx, table, q, w.key, places)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			if r == nil || seen[r.ID] {
				continue
			}
			seen[r.ID] = true
			if len(seen) > q.Offset && page.Add(q, r) {
				return page.Records, nil
			}
		}
	}
}

// check reads the records of the places on a walk along the key; nil stands for
// one that is not found.
func (s *store) check(ctx context.Context, table string, q driver.Query, key string, places []place) ([]*driver.Record, error) {
	records := make([]*driver.Record, len(places))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i, p := range places {
		group.Go(func() error {
			r := &driver.Record{ID: p.id}
			var terms map[string]string
			err := s.query(table, `SELECT created, updated, etag, terms, metadata, data FROM {r} WHERE id = ?`, p.id).
				Consistency(level(q.Eventual)).ScanContext(ctx, &r.Created, &r.Updated, &r.ETag, &terms, &r.Metadata, &r.Data)
			if errors.Is(err, gocql.ErrNotFound) {
				return nil
			}
			term := func(key string) (string, bool) { v, ok := terms[key]; return v, ok }
			if err == nil && r.ETag != "" && (key == self || terms[key] == p.value) && driver.Holds(q.Where, term) {
				records[i] = r
			}
			return err
		})
	}
	return records, group.Wait()
}
