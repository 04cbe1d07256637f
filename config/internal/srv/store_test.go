package srv_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	configsrv "github.com/micro/go-platform/config/internal/srv"
	pb "github.com/micro/go-platform/config/proto"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/internal/sqlstore"
)

func TestMain(m *testing.M) { rpctest.Main(backend.StopAfter(m)) }

func open(t *testing.T, rawURL string) configsrv.Store {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), rawURL, sqlstore.Schema{Service: "config", Migrations: configsrv.Migrations})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return configsrv.NewSQLStore(db)
}

func TestStore(t *testing.T) {
	rpctest.Databases(t, func(t *testing.T, empty func(testing.TB) string) { testStore(t, empty(t)) })
}

func TestTwoProcesses(t *testing.T) {
	rpctest.SharedDatabases(t, func(t *testing.T, url string) { testTwoProcesses(t, open(t, url), open(t, url)) })
}

func testStore(t *testing.T, url string) {
	s := open(t, url)
	t.Run("Writes", func(t *testing.T) { testWrites(t, s) })
	t.Run("Refused", func(t *testing.T) { testRefused(t, s) })
	t.Run("Log", func(t *testing.T) { testLog(t, s) })
	t.Run("Parents", func(t *testing.T) { testParents(t, s) })
}

func anyway(*configsrv.Doc, int64) error { return nil }

const odd = `{"é'\"%_\\":"\u0000 😀"}`

func testWrites(t *testing.T, s configsrv.Store) {
	first, second, third := writeThrice(t, s)
	changedDocs(t, s, first, third)
	for _, c := range []struct {
		at    int64
		want  int64
		data  string
		there bool
	}{{first, first, odd, true}, {second, second, `{"c":1}`, true}, {third, third, "", false}, {third + 1000, third, "", false}} {
		e, err := s.EntryAt(t.Context(), "w:a", c.at)
		if err != nil || e.Revision != c.want || e.Data != c.data || e.There != c.there {
			t.Errorf("at %d: %+v, %v", c.at, e, err)
		}
	}
	wholeEntries(t, s, first, second)
	for id, at := range map[string]int64{"w:a": first - 1, "w:A": third, "w:%": third, "none": third} {
		if e, err := s.EntryAt(t.Context(), id, at); !errors.Is(err, rpcerr.ErrNotFound) {
			t.Errorf("%s at %d: %+v, %v", id, at, e, err)
		}
	}
}

// writeThrice creates w:a, begins a rollout and deletes it; it returns the
// revisions.
func writeThrice(t *testing.T, s configsrv.Store) (first, second, third int64) {
	t.Helper()
	ctx := t.Context()
	d := configsrv.Doc{ID: "w:a", There: true, Data: odd, Author: "é"}
	e := configsrv.Entry{Action: "create", Author: "é", Data: odd, Settled: true, There: true, At: 5, Note: "why", Path: "a/b"}
	first, err := s.Put(ctx, d, e, func(old *configsrv.Doc, revision int64) error {
		if old != nil || revision <= 0 {
			t.Errorf("first write sees %v, %d", old, revision)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	rollout := &pb.RolloutState{Rollout: &pb.Rollout{Percent: 12.5, Labels: map[string]string{"é": "x"}}, Revision: 7}
	second, err = s.Put(ctx, configsrv.Doc{ID: "w:a", There: true, Data: `{}`, Rollout: rollout},
		configsrv.Entry{Action: "rollout", Data: `{"c":1}`, There: true, Rollout: rollout}, func(old *configsrv.Doc, revision int64) error {
			if old == nil || old.Revision != first || old.Data != odd || !old.There || old.Author != "é" || revision != first+1 {
				t.Errorf("second write sees %+v, %d", old, revision)
			}
			return nil
		})
	if err != nil || second != first+1 {
		t.Fatalf("%d after %d, %v", second, first, err)
	}
	third, err = s.Put(ctx, configsrv.Doc{ID: "w:a"}, configsrv.Entry{Action: "delete", Settled: true}, anyway)
	if err != nil {
		t.Fatal(err)
	}
	return first, second, third
}

// changedDocs checks what writeThrice changed since its first revision, and
// that nothing did since its last.
func changedDocs(t *testing.T, s configsrv.Store, first, third int64) {
	t.Helper()
	ctx := t.Context()
	if now, err := s.Revision(ctx); err != nil || now != third {
		t.Errorf("revision %d, %v, want %d", now, err, third)
	}
	docs, err := s.Docs(ctx, first)
	if err != nil || len(docs) != 1 || docs[0].There || docs[0].Revision != third || docs[0].Rollout != nil {
		t.Errorf("changed: %+v, %v", docs, err)
	}
	if docs, err := s.Docs(ctx, third); err != nil || len(docs) != 0 {
		t.Errorf("changed since now: %+v, %v", docs, err)
	}
}

// wholeEntries checks each field of the first two entries of writeThrice.
func wholeEntries(t *testing.T, s configsrv.Store, first, second int64) {
	t.Helper()
	ctx := t.Context()
	if e, err := s.EntryAt(ctx, "w:a", first); err != nil || e.ID != "w:a" || e.Path != "a/b" || e.Action != "create" || e.Author != "é" || e.Note != "why" || e.At != 5 || !e.Settled {
		t.Errorf("entry: %+v, %v", e, err)
	}
	if e, err := s.EntryAt(ctx, "w:a", second); err != nil || e.Rollout.GetRollout().GetPercent() != 12.5 || e.Rollout.Revision != 7 {
		t.Errorf("rollout: %+v, %v", e, err)
	}
}

func testRefused(t *testing.T, s configsrv.Store) {
	before, err := s.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	no := errors.New("no")
	put := func(ctx context.Context, check func(*configsrv.Doc, int64) error) error {
		_, err := s.Put(ctx, configsrv.Doc{ID: "r:a", There: true, Data: "{}"}, configsrv.Entry{Action: "create", There: true}, check)
		return err
	}
	if err := put(t.Context(), func(*configsrv.Doc, int64) error { return no }); !errors.Is(err, no) {
		t.Errorf("refused: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := put(ended, anyway); err == nil {
		t.Error("an ended context: no error")
	}
	if now, err := s.Revision(t.Context()); err != nil || now != before {
		t.Errorf("revision %d, %v, want %d", now, err, before)
	}
	if _, err := s.EntryAt(t.Context(), "r:a", before+10); !errors.Is(err, rpcerr.ErrNotFound) {
		t.Errorf("something was written: %v", err)
	}
}

func testLog(t *testing.T, s configsrv.Store) {
	ctx := t.Context()
	for i, e := range []configsrv.Entry{
		{Author: "ann", At: 100}, {Author: "bob", At: 200}, {Author: "ann", At: 300},
	} {
		e.Action = fmt.Sprint(i)
		if _, err := s.Put(ctx, configsrv.Doc{ID: "l:a"}, e, anyway); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		id, author              string
		from, to, limit, offset int64
		reverse                 bool
		want                    string
	}{
		"all":       {id: "l:a", limit: 10, want: "012"},
		"author":    {id: "l:a", author: "ann", limit: 10, want: "02"},
		"from":      {id: "l:a", from: 200, limit: 10, want: "12"},
		"to":        {id: "l:a", to: 300, limit: 10, want: "01"},
		"reverse":   {id: "l:a", limit: 10, reverse: true, want: "210"},
		"page":      {id: "l:a", limit: 1, offset: 1, want: "1"},
		"nobody":    {id: "l:b", limit: 10},
		"wildcard":  {id: "l:%", limit: 10},
		"injection": {id: "' OR 1=1 --", limit: 10},
	} {
		got := ""
		entries, err := s.Entries(ctx, c.id, c.author, c.from, c.to, c.limit, c.offset, c.reverse)
		for _, e := range entries {
			got += e.Action
		}
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
		}
	}
}

func testParents(t *testing.T, s configsrv.Store) {
	before, _ := s.Revision(t.Context()) // an error shows below
	for _, parent := range []string{"stage", "default"} {
		if _, err := s.InheritFrom(t.Context(), "prod", parent); err != nil {
			t.Fatal(err)
		}
	}
	parents, err := s.Parents(t.Context())
	if err != nil || fmt.Sprint(parents) != "map[prod:default]" {
		t.Errorf("%v, %v", parents, err)
	}
	if now, _ := s.Revision(t.Context()); now != before+2 { // an error shows below
		t.Errorf("revision %d, want %d", now, before+2)
	}
}

// testTwoProcesses has every write count in the data, which only works when
// writes come one after the other.
func testTwoProcesses(t *testing.T, stores ...configsrv.Store) {
	const each = 20
	ctx := t.Context()
	var work sync.WaitGroup
	revisions := make(chan int64, 2*2*each)
	for _, s := range append(stores, stores...) {
		work.Go(func() {
			for range each {
				revision, err := s.Put(ctx, configsrv.Doc{ID: "t:a"}, configsrv.Entry{}, anyway)
				if err != nil {
					t.Error(err)
				}
				revisions <- revision
			}
		})
	}
	work.Wait()
	close(revisions)
	seen := map[int64]bool{}
	for r := range revisions {
		if seen[r] {
			t.Errorf("revision %d twice", r)
		}
		seen[r] = true
	}
	a, errA := stores[0].Revision(ctx)
	b, errB := stores[1].Revision(ctx)
	if a != b || errA != nil || errB != nil || !seen[a] {
		t.Errorf("revisions %d, %d, %v, %v", a, b, errA, errB)
	}
}
