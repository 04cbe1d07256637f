package dbtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/micro/go-platform/db"
)

// oneDeletes checks that one of several concurrent deletions of a record succeeds.
func oneDeletes(t *testing.T, s *suite) {
	for round := range rounds {
		id := s.id(fmt.Sprint(round))
		var before db.Record
		must(t, s.Create(db.NewRecord(id, db.Metadata{"mark": s.mark}, nil), db.Returning(&before)))
		opts := [][]db.DeleteOption{
			{db.IfMatch(before.ETag())}, {db.IfMatch(before.ETag()), db.Fence(7)}, nil,
		}[round%3]
		var wins atomic.Int64
		together(func(int) {
			switch err := s.Delete(id, opts...); {
			case err == nil:
				wins.Add(1)
			case !errors.Is(err, db.ErrNotFound) && !errors.Is(err, db.ErrConflict):
				t.Errorf("round %d: %v, want ErrNotFound or ErrConflict", round, err)
			}
		})
		if wins.Load() != 1 {
			t.Fatalf("round %d: %d deleted it", round, wins.Load())
		}
		want(t, errOf(s.Read(id)), db.ErrNotFound)
		s.expect(t, "what was deleted", "mark", nil)
	}
}

// mixedSizes: small records that come first say nothing of those behind them.
func mixedSizes(t *testing.T, s *suite) {
	const small, large = 40, 20
	for i := range small + large {
		var data []byte
		if i >= small {
			data = make([]byte, db.MaxBytes)
		}
		must(t, s.Create(db.NewRecord(s.id(fmt.Sprintf("%03d", i)), db.Metadata{"mark": s.mark, "v": i}, data)))
	}
	for name, opts := range map[string][]db.SearchOption{
		"by id": nil, "by value": {db.OrderBy("v")}, "by value, descending": {db.OrderBy("v"), db.Descending()},
	} {
		var more bool
		found, err := s.Search(db.Metadata{"mark": s.mark}, db.MaxLimit, 0, append(opts, db.More(&more))...)
		total := 0
		for _, r := range found {
			total += len(r.Bytes())
		}
		if err != nil || !more || total == 0 || total > db.MaxAnswer {
			t.Errorf("%s: a page has %d records, %d bytes, more %v, %v", name, len(found), total, more, err)
		}
		last, got := 0, 0
		for r, err := range db.Each(s.DB, db.Metadata{"mark": s.mark}, opts...) {
			must(t, err)
			v := int(r.Metadata()["v"].(int64))
			if step := v - last; got > 0 && step != 1 && step != -1 {
				t.Fatalf("%s: %d comes after %d", name, v, last)
			}
			if (len(r.Bytes()) > 0) != (v >= small) {
				t.Errorf("%s: %d has %d bytes", name, v, len(r.Bytes()))
			}
			last = v
			got++
		}
		if got != small+large {
			t.Errorf("%s: Each gave %d of %d", name, got, small+large)
		}
	}
}

// searchDuringUpdates: a record that matches before and after each of its
// changes is found meanwhile, once.
func searchDuringUpdates(t *testing.T, s *suite) {
	const n, searches = 40, 15
	key := s.mark // that no other test's records have
	record := func(i, change int) db.Record {
		// Every other change is one of the metadata, too.
		return db.NewRecord(s.id(fmt.Sprintf("%03d", i)), db.Metadata{"mark": s.mark, key: i, "change": change / 2}, []byte(fmt.Sprint(change)))
	}
	for i := range n {
		must(t, s.Create(record(i, 0)))
	}
	stop := s.keep(t, 4, func(worker, change int) error { return s.Update(record((4*change+worker)%n, change)) })
	defer stop()
	start := db.After(db.NewRecord(s.mark, nil, nil)) // the ids of other tests are not walked
	for range searches {
		for name, search := range map[string]func() ([]db.Record, error){
			"by equality": func() ([]db.Record, error) { return s.Search(db.Metadata{"mark": s.mark}, db.MaxLimit, 0) },
			"by value":    func() ([]db.Record, error) { return s.Search(nil, db.MaxLimit, 0, db.OrderBy(key), db.Descending()) },
			"by id":       func() ([]db.Record, error) { return s.Search(nil, n, 0, db.Where(key, db.AtLeast, 0), start) },
		} {
			found, err := search()
			must(t, err)
			seen := make(map[string]bool)
			for _, r := range found {
				seen[r.Id()] = true
			}
			if len(found) != n || len(seen) != n {
				t.Fatalf("%s: found %d records, %d different ones, of %d: %s", name, len(found), len(seen), n, ids(found))
			}
		}
	}
}

// keep has workers change records until the function that it returns is called.
func (s *suite) keep(t *testing.T, workers int, change func(worker, n int) error) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for n := 1; ctx.Err() == nil; n++ {
				if err := change(w, n); err != nil {
					t.Errorf("change %d of worker %d: %v", n, w, err)
					return
				}
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
	}
}
