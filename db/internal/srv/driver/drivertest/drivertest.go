// Package drivertest checks of a driver what calls through db cannot see.
package drivertest

import (
	"fmt"
	"testing"

	"github.com/micro/go-platform/db/internal/srv/driver"
)

const (
	small = 40 // records that come first, more than any chunk begins with
	large = 24
	size  = 256 << 10 // of a large one
)

// Bytes checks that a search ends with the record that makes it more than
// Bytes, whatever came before it, and that one behind it goes on there.
func Bytes(t *testing.T, s driver.Store) {
	t.Helper()
	const table = "bytes"
	for i := range small + large {
		r := &driver.Record{ID: id(i), ETag: "e" + id(i), Terms: []driver.Term{{Key: "k", Value: "n" + id(i)}}}
		if i >= small {
			r.Data = make([]byte, size)
		}
		if _, err := s.Update(t.Context(), table, driver.Write{Record: r, Upsert: true}); err != nil {
			t.Fatal(err)
		}
	}
	for _, order := range []string{"", "k"} {
		for _, bytes := range []int{1, size, 4 * size} {
			next := 0
			q := driver.Query{Order: order, Limit: 1000, Bytes: bytes}
			for next < small+large {
				next += page(t, s, table, q, next)
				q.After = &driver.Cursor{ID: id(next - 1)}
				if order != "" {
					q.After.Value = "n" + id(next-1)
				}
			}
		}
	}
}

func id(i int) string { return fmt.Sprintf("%03d", i) }

// page returns how many records from the next on a search finds.
func page(t *testing.T, s driver.Store, table string, q driver.Query, next int) int {
	t.Helper()
	found, err := s.Search(t.Context(), table, q)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for i, r := range found {
		if r.ID != id(next+i) {
			t.Fatalf("ordered by %q: %s where %s belongs", q.Order, r.ID, id(next+i))
		}
		if total > q.Bytes {
			t.Fatalf("ordered by %q: %d records after %d bytes, with a bound of %d", q.Order, len(found)-i, total, q.Bytes)
		}
		total += r.Size()
	}
	if total <= q.Bytes && next+len(found) != small+large {
		t.Fatalf("ordered by %q: %d bytes of at most %d, and it is not the end", q.Order, total, q.Bytes)
	}
	return len(found)
}
