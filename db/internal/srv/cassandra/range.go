package cassandra

import (
	"context"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/micro/go-platform/db/internal/srv/driver"
)

// maxSorted is up to how many rows of the index that a range finds are sorted by id
// for each page. With more the ids are walked, and every record on the way is read.
const maxSorted = 5000

// few returns the places that a range or a prefix leads to, in the order of the
// query. ok is false when the query has an OrderBy or an equality, or when every
// range finds more than maxSorted. Of several ranges it takes the narrowest.
func (s *store) few(ctx context.Context, table string, q driver.Query) (places []place, ok bool, err error) {
	if q.Order != "" || len(q.Where) == 0 || span(q).Key != self {
		return nil, false, nil
	}
	for _, c := range q.Where {
		found, all, err := s.ids(ctx, table, q, c)
		if err != nil {
			return nil, false, err
		}
		if all && (!ok || len(found) < len(places)) {
			places, ok = found, true
		}
	}
	return places, ok, nil
}

// ids returns the places behind the cursor that the rows of a condition lead to.
// all is false when there are more than maxSorted rows.
func (s *store) ids(ctx context.Context, table string, q driver.Query, c driver.Condition) (places []place, all bool, _ error) {
	var read atomic.Int64
	var found [buckets][]string
	group, ctx := errgroup.WithContext(ctx)
	for b := range buckets {
		group.Go(func() error {
			rows := s.query(table, `SELECT id FROM {t} WHERE k = ? AND bucket = ? AND v >= ? AND v < ?`, c.Key, b, c.Low, c.High).
				Consistency(level(q.Eventual)).PageSize(maxSorted / buckets).IterContext(ctx)
			for id := ""; rows.Scan(&id) && read.Add(1) <= maxSorted; {
				found[b] = append(found[b], id)
			}
			return rows.Close()
		})
	}
	if err := group.Wait(); err != nil || read.Load() > maxSorted {
		return nil, false, err
	}
	ids := slices.Concat(found[:]...)
	slices.Sort(ids)
	if q.Reverse {
		slices.Reverse(ids)
	}
	for _, id := range slices.Compact(ids) {
		if q.After == nil || !q.Reverse && id > q.After.ID || q.Reverse && id < q.After.ID {
			places = append(places, place{id: id})
		}
	}
	return places, true, nil
}
