package dbtest

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"testing"

	"github.com/micro/go-platform/db"
)

func fences(t *testing.T, s *suite) {
	id := s.id("a")
	record := func(text string) db.Record {
		return db.NewRecord(id, db.Metadata{"mark": s.mark, "v": text}, []byte(text))
	}
	holds := func(text string) {
		t.Helper()
		r, err := s.Read(id)
		if err != nil || string(r.Bytes()) != text {
			t.Fatalf("got %v, %v, want %s", r, err, text)
		}
		s.expect(t, "what is found", "v", []any{text})
	}
	stale := func(err error) {
		t.Helper()
		want(t, err, db.ErrStale)
		want(t, err, db.ErrConflict)
	}
	must(t, s.Create(record("5"), db.Fence(5)))
	for _, token := range []uint64{5, 7} {
		must(t, s.Update(record(fmt.Sprint(token)), db.Fence(token)))
	}
	stale(s.Update(record("stale"), db.Fence(6)))
	stale(s.Update(record("stale"), db.Fence(6), db.Upsert()))
	stale(s.Update(record("stale"), db.Fence(6), db.IfMatch("another")))
	stale(s.Create(record("stale"), db.Fence(6)))
	stale(s.Delete(id, db.Fence(6)))
	stale(db.Put(s.DB, id, "stale", db.Fence(6)))
	holds("7")
	must(t, s.Update(record("unfenced")))
	stale(s.Update(record("stale"), db.Fence(6)))
	holds("unfenced")

	refused := s.Update(record("no"), db.Fence(9), db.IfMatch("another"))
	if want(t, refused, db.ErrConflict); errors.Is(refused, db.ErrStale) {
		t.Error(refused)
	}
	want(t, s.Create(record("no"), db.Fence(9)), db.ErrExists)
	must(t, s.Update(record("8"), db.Fence(8))) // changes that were refused left no token
	holds("8")
}

// A deleted record still knows its token, whoever deleted it.
func fencedDelete(t *testing.T, s *suite) {
	for i, opts := range [][]db.DeleteOption{{db.Fence(8)}, nil} {
		id := s.id(fmt.Sprint(i))
		record := db.NewRecord(id, db.Metadata{"mark": s.mark}, []byte("x"))
		must(t, s.Update(record, db.Upsert(), db.Fence(8)))
		must(t, s.Delete(id, opts...))
		want(t, errOf(s.Read(id)), db.ErrNotFound)
		want(t, s.Delete(id), db.ErrNotFound)
		want(t, s.Delete(id, db.Fence(8)), db.ErrNotFound)
		want(t, s.Update(record), db.ErrNotFound)
		want(t, s.Update(record, db.Fence(9)), db.ErrNotFound)
		s.expect(t, "a deleted one", "mark", nil)
		for what, err := range map[string]error{
			"create": s.Create(record, db.Fence(7)), "upsert": s.Update(record, db.Upsert(), db.Fence(7)),
			"update": s.Update(record, db.Fence(7)), "delete": s.Delete(id, db.Fence(7)),
		} {
			if !errors.Is(err, db.ErrStale) {
				t.Errorf("%s with a lower token after a delete: %v", what, err)
			}
		}
		must(t, s.Create(record)) // without a token nobody is stopped
		want(t, s.Update(record, db.Fence(7)), db.ErrStale)
		must(t, s.Delete(id))
		must(t, s.Create(record, db.Fence(8)))
		want(t, s.Update(record, db.Fence(7)), db.ErrStale)
		must(t, s.Delete(id))
	}
}

// Tokens are numbers of 64 bits, those of one id or table say nothing of another,
// and nobody sees what is kept of them.
func fenceScope(t *testing.T, s *suite) {
	a, b := s.id("a"), s.id("b")
	must(t, s.Create(db.NewRecord(a, nil, nil), db.Fence(math.MaxUint64)))
	must(t, s.Create(db.NewRecord(b, nil, nil), db.Fence(2)))
	must(t, s.Update(db.NewRecord(b, nil, nil), db.Fence(16)))
	want(t, s.Update(db.NewRecord(b, nil, nil), db.Fence(15)), db.ErrStale)
	want(t, s.Update(db.NewRecord(a, nil, nil), db.Fence(math.MaxUint64-1)), db.ErrStale)
	must(t, s.Update(db.NewRecord(a, nil, nil), db.Fence(math.MaxUint64)))
	must(t, s.Update(db.NewRecord(a, nil, nil), db.Fence(0))) // none
	other := NewName("fences")
	want(t, s.Delete(a, db.InTable(other), db.Fence(1)), db.ErrNotFound)
	must(t, s.Create(db.NewRecord(a, nil, nil), db.InTable(other), db.Fence(1)))
	must(t, s.Delete(a, db.InTable(other)))
	if found, err := s.Search(nil, 0, 0, db.InTable(other)); err != nil || len(found) != 0 {
		t.Errorf("a search found %q in a table without records, %v", ids(found), err)
	}
}

// Of concurrent writes with different tokens none comes after one with a higher
// token.
func fencedWriters(t *testing.T, s *suite) {
	for round := range rounds / 2 {
		id := s.id(fmt.Sprint(round))
		var highest atomic.Uint64
		together(func(i int) {
			token := uint64(i + 1)
			err := s.Update(db.NewRecord(id, db.Metadata{"token": i + 1}, nil), db.Upsert(), db.Fence(token))
			switch {
			case err == nil:
				for h := highest.Load(); h < token && !highest.CompareAndSwap(h, token); h = highest.Load() {
				}
			case !errors.Is(err, db.ErrStale):
				t.Errorf("token %d: %v", token, err)
			}
		})
		r, err := s.Read(id)
		must(t, err)
		if r.Metadata()["token"] != int64(highest.Load()) || highest.Load() != writers {
			t.Errorf("token %v wrote last, %d was the highest, want %d", r.Metadata()["token"], highest.Load(), writers)
		}
	}
}
