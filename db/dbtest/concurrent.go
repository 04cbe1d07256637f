package dbtest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/micro/go-platform/db"
)

const (
	writers = 16
	rounds  = 10
)

// together runs work for each writer at the same moment.
func together(work func(writer int)) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range writers {
		wg.Go(func() {
			<-begin
			work(i)
		})
	}
	close(begin)
	wg.Wait()
}

func oneWins(t *testing.T, s *suite) {
	id := s.id("a")
	must(t, s.Create(db.NewRecord(id, nil, []byte("start"))))
	for round := range rounds {
		before, err := s.Read(id)
		must(t, err)
		var wins atomic.Int64
		var winner atomic.Value
		together(func(i int) {
			text := fmt.Sprintf("%d of round %d", i, round)
			err := s.Update(db.NewRecord(id, db.Metadata{"mark": s.mark, "winner": i}, []byte(text)), db.IfMatch(before.ETag()))
			switch {
			case err == nil:
				wins.Add(1)
				winner.Store(text)
			case !errors.Is(err, db.ErrConflict):
				t.Errorf("round %d: %v, want ErrConflict", round, err)
			}
		})
		after, err := s.Read(id)
		must(t, err)
		if wins.Load() != 1 || string(after.Bytes()) != winner.Load() {
			t.Fatalf("round %d: %d writers won, %v last; the record says %q", round, wins.Load(), winner.Load(), after.Bytes())
		}
		found, err := s.Search(db.Metadata{"mark": s.mark}, 0, 0, db.Where("winner", db.Equal, after.Metadata()["winner"]))
		if err != nil || len(found) != 1 {
			t.Fatalf("round %d: the winner is found %d times, %v", round, len(found), err)
		}
	}
}

func oneCreates(t *testing.T, s *suite) {
	for round := range rounds {
		id := s.id(fmt.Sprint(round))
		var wins atomic.Int64
		together(func(i int) {
			err := s.Create(db.NewRecord(id, db.Metadata{"mark": s.mark, "round": round}, []byte(fmt.Sprint(i))))
			switch {
			case err == nil:
				wins.Add(1)
			case !errors.Is(err, db.ErrExists):
				t.Errorf("round %d: %v, want ErrExists", round, err)
			}
		})
		if wins.Load() != 1 {
			t.Fatalf("round %d: %d creators won", round, wins.Load())
		}
		found, err := s.Search(db.Metadata{"mark": s.mark, "round": round}, 0, 0)
		if err != nil || len(found) != 1 {
			t.Fatalf("round %d: found %d times, %v", round, len(found), err)
		}
	}
}

// allWrite: without a condition nobody is refused, and the record stays whole.
func allWrite(t *testing.T, s *suite) {
	id := s.id("a")
	together(func(i int) {
		r := db.NewRecord(id, db.Metadata{"mark": s.mark, "writer": i}, []byte(fmt.Sprint(i)))
		if err := s.Update(r, db.Upsert()); err != nil {
			t.Errorf("writer %d: %v", i, err)
		}
	})
	found, err := s.Search(db.Metadata{"mark": s.mark}, 0, 0)
	must(t, err)
	if len(found) != 1 || string(found[0].Bytes()) != fmt.Sprint(found[0].Metadata()["writer"]) {
		t.Fatalf("found %d: %v", len(found), found)
	}
	found, err = s.Search(nil, 0, 0, db.Where("mark", db.Equal, s.mark), db.Where("writer", db.AtLeast, 0), db.OrderBy("writer"))
	if err != nil || len(found) != 1 {
		t.Fatalf("found by its writer %d times, %v", len(found), err)
	}
}
