package srv_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/db/dbtest"
	dbsrv "github.com/micro/go-platform/db/internal/srv"
	"github.com/micro/go-platform/internal/rpctest"
)

// Two db-srvs on one database are as one: of writers on both one wins, tokens
// seen by one count at the other, and each change is told once.
func TestTwoServicesOnOneDatabase(t *testing.T) {
	const writers, rounds = 8, 5
	url := rpctest.MySQLURL(t)
	e := &events{}
	var sides []db.DB
	for range 2 { // each on a network of its own: a client would go to either
		own := rpctest.New(t)
		own.Boot(dbsrv.With(t, nil, map[string][]string{"database": {"shop=" + url}}))
		e.serve(t, own)
		sides = append(sides, open(t, own, db.Database("shop"), db.Events(true)))
	}
	changes := 0
	var before db.Record
	for round := range rounds {
		id := fmt.Sprint(round)
		must(t, sides[round%2].Create(db.NewRecord(id, nil, nil), db.Returning(&before)))
		var wins atomic.Int64
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				switch err := sides[w%2].Update(db.NewRecord(id, nil, nil), db.IfMatch(before.ETag())); {
				case err == nil:
					wins.Add(1)
				case !errors.Is(err, db.ErrConflict):
					t.Error(err)
				}
			})
		}
		all.Wait()
		if wins.Load() != 1 {
			t.Fatalf("%d of %d writers won", wins.Load(), writers)
		}
		token := uint64(10 + round)
		must(t, sides[round%2].Delete(id, db.Fence(token)))
		if err := sides[1-round%2].Create(db.NewRecord(id, nil, nil), db.Fence(token-1)); !errors.Is(err, db.ErrStale) {
			t.Errorf("a token that the other has seen: %v", err)
		}
		changes += 3
	}
	dbtest.Eventually(t, "the changes arrive", func() bool { return len(e.all()) >= changes })
	for _, s := range sides {
		must(t, s.Create(db.NewRecord(fmt.Sprintf("last of %p", s), nil, nil)))
	}
	dbtest.Eventually(t, "the last arrive", func() bool { return len(e.all()) >= changes+2 })
	if n := len(e.all()); n != changes+2 {
		t.Errorf("%d changes took place, %d are told", changes+2, n)
	}
}

// An id of one database means nothing in another of the same service.
func TestDatabasesAreApart(t *testing.T) {
	net := rpctest.New(t)
	net.Boot(dbsrv.With(t, nil, map[string][]string{"database": {"ours=sqlite::memory:", "theirs=sqlite::memory:", "third=" + rpctest.MySQLURL(t)}}))
	ours := open(t, net, db.Database("ours"))
	must(t, ours.Create(db.NewRecord("a", db.Metadata{"k": 1}, []byte("ours")), db.Fence(9)))
	for _, name := range []string{"theirs", "third"} {
		there := db.InDatabase(name)
		if _, err := ours.Read("a", there); !errors.Is(err, db.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if found, err := ours.Search(db.Metadata{"k": 1}, 0, 0, there); err != nil || len(found) != 0 {
			t.Errorf("%s: found %d, %v", name, len(found), err)
		}
		must(t, ours.Create(db.NewRecord("a", nil, nil), db.Fence(1), there))
		must(t, ours.Delete("a", there))
	}
	if r, err := ours.Read("a"); err != nil || string(r.Bytes()) != "ours" {
		t.Errorf("%v, %v", r, err)
	}
}
