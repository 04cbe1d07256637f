// Package dbtest is the conformance suite of db: every database behind db-srv,
// and every other implementation of db.DB, gives the same answers and errors.
package dbtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/db"
)

// Subject is the implementation under test.
type Subject struct {
	// New returns a DB, not started, with the options after its own. It is
	// stopped by the suite.
	New func(t *testing.T, opts ...db.Option) db.DB
}

// Run runs the suite. All of it shares one table, with a random name.
func Run(t *testing.T, s Subject) {
	t.Helper()
	table := NewName("suite")
	for _, c := range []struct {
		name string
		test func(*testing.T, *suite)
	}{
		{"CRUD", crud},
		{"Sentinels", sentinels},
		{"Metadata", metadata},
		{"Bytes", bytes},
		{"TooLarge", tooLarge},
		{"BadRecords", badRecords},
		{"IfMatch", ifMatch},
		{"CreateOnlyAndUpsert", createOnly},
		{"Typed", typed},
		{"HostileIDs", hostileIDs},
		{"HostileNames", hostileNames},
		{"Isolation", isolation},
		{"SearchEquality", equality},
		{"SearchRange", ranges},
		{"SearchPrefix", prefixes},
		{"SearchOrder", order},
		{"SearchPages", pages},
		{"SearchLimits", limits},
		{"SearchLargeAnswer", largeAnswer},
		{"SearchMixedSizes", mixedSizes},
		{"SearchFollowsUpdates", followsUpdates},
		{"SearchDuringUpdates", searchDuringUpdates},
		{"SearchBad", badSearches},
		{"SearchEventual", eventual},
		{"OneWriterWins", oneWins},
		{"OneCreatorWins", oneCreates},
		{"OneDeleterWins", oneDeletes},
		{"AllWritersSucceed", allWrite},
		{"Fence", fences},
		{"FencedDelete", fencedDelete},
		{"FenceScope", fenceScope},
		{"FencedWriters", fencedWriters},
		{"Context", contexts},
		{"Lifecycle", lifecycle},
		{"BadOptions", badOptions},
		{"UnfitOptions", unfitOptions},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := s.New(t, db.Table(table), db.Timeout(30*time.Second))
			start(t, d)
			c.test(t, &suite{DB: d, subject: s, table: table, mark: NewName("m")})
		})
	}
}

// NewName returns a name for a table that no other test has.
func NewName(prefix string) string { return fmt.Sprintf("%s_%08x", prefix, rand.Uint32()) }

// suite is one test: a DB on the shared table, and a mark of its own, under
// which it creates and finds its records.
type suite struct {
	db.DB
	subject Subject
	table   string
	mark    string
}

func start(t *testing.T, d db.DB) {
	t.Helper()
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, err, sentinel error) {
	t.Helper()
	if !errors.Is(err, sentinel) {
		t.Errorf("got %v, want %v", err, sentinel)
	}
}

// id returns an id of this test.
func (s *suite) id(name string) string { return s.mark + name }

// add creates records with the mark and one metadata value each, named by it.
func (s *suite) add(t *testing.T, key string, values ...any) {
	t.Helper()
	for i, v := range values {
		r := db.NewRecord(s.id(fmt.Sprintf("%03d", i)), db.Metadata{"mark": s.mark, key: v}, nil)
		must(t, s.Create(r))
	}
}

// find searches among the records of this test and returns one value of each.
func (s *suite) find(t *testing.T, key string, opts ...db.CallOption) []any {
	t.Helper()
	found, err := s.Search(db.Metadata{"mark": s.mark}, 0, 0, opts...)
	must(t, err)
	var values []any
	for _, r := range found {
		values = append(values, r.Metadata()[key])
	}
	return values
}

func (s *suite) expect(t *testing.T, what, key string, want []any, opts ...db.CallOption) {
	t.Helper()
	if got := s.find(t, key, opts...); !slices.Equal(got, want) {
		t.Errorf("%s: got %#v, want %#v", what, got, want)
	}
}

func ids(records []db.Record) string {
	var all []string
	for _, r := range records {
		all = append(all, r.Id())
	}
	return strings.Join(all, " ")
}

func contexts(t *testing.T, s *suite) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range map[string]error{
		"create": s.Create(db.NewRecord(s.id("x"), nil, nil), db.WithContext(ctx)),
		"delete": s.Delete(s.id("x"), db.WithContext(ctx)),
		"update": s.Update(db.NewRecord(s.id("x"), nil, nil), db.WithContext(ctx)),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", name, err)
		}
	}
	if _, err := s.Read(s.id("x"), db.WithContext(ctx)); !errors.Is(err, context.Canceled) {
		t.Errorf("read: %v", err)
	}
	if _, err := s.Search(nil, 0, 0, db.WithContext(ctx)); !errors.Is(err, context.Canceled) {
		t.Errorf("search: %v", err)
	}
	late, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if _, err := s.Read(s.id("x"), db.WithContext(late)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("read: %v, want context.DeadlineExceeded", err)
	}
}

func lifecycle(t *testing.T, s *suite) {
	d := s.subject.New(t, db.Table(s.table))
	if d.String() == "" {
		t.Error("no name")
	}
	for range 2 {
		must(t, d.Start())
	}
	want(t, errOf(d.Read(s.id("x"))), db.ErrNotFound)
	for range 2 {
		must(t, d.Stop())
	}
	if _, err := d.Read(s.id("x")); !errors.Is(err, db.ErrStopped) {
		t.Errorf("read after Stop: %v", err)
	}
	unstarted := s.subject.New(t, db.Table(s.table))
	want(t, errOf(unstarted.Read(s.id("x"))), db.ErrNotFound)
	must(t, unstarted.Stop())
}

func errOf[T any](_ T, err error) error { return err }

func badOptions(t *testing.T, s *suite) {
	for name, opt := range map[string]db.Option{
		"Database": db.Database("a-b"),
		"Table":    db.Table(""),
		"Timeout":  db.Timeout(0),
	} {
		d := s.subject.New(t, opt)
		for what, err := range map[string]error{
			"start": d.Start(), "init": d.Init(), "create": d.Create(db.NewRecord("x", nil, nil)), "read": errOf(d.Read("x")),
		} {
			if err == nil || !strings.Contains(err.Error(), "option "+name) {
				t.Errorf("%s: %v, want option %s named", what, err, name)
			}
		}
		must(t, d.Stop())
	}
	d := s.subject.New(t)
	must(t, d.Init(db.Table(s.table)))
	if o := d.Options(); o.Table != s.table || o.Database == "" {
		t.Errorf("options %+v", o)
	}
	must(t, d.Stop())
}

// unfitOptions: an option that a method cannot follow is an error of it, and
// nothing is changed.
func unfitOptions(t *testing.T, s *suite) {
	id := s.id("a")
	var r db.Record
	must(t, s.Create(db.NewRecord(id, nil, []byte("as it was"))))
	other := db.NewRecord(id, nil, []byte("changed"))
	for what, err := range map[string]error{
		"create WithMetadata":    s.Create(db.NewRecord(s.id("b"), nil, nil), db.WithMetadata(nil)),
		"create WithConsistency": s.Create(db.NewRecord(s.id("b"), nil, nil), db.WithConsistency(db.Strong)),
		"create nil":             s.Create(nil),
		"update WithMetadata":    s.Update(other, db.WithMetadata(db.Metadata{"k": 1})),
		"update WithConsistency": s.Update(other, db.WithConsistency(db.Eventual)),
		"update OrderBy":         s.Update(other, db.OrderBy("k")),
		"update nil":             s.Update(nil),
		"put WithConsistency":    db.Put(s.DB, id, "x", db.WithConsistency(db.Eventual)),
		"delete Returning":       s.Delete(id, db.Returning(&r)),
		"delete WithConsistency": s.Delete(id, db.WithConsistency(db.Strong)),
		"delete Upsert":          s.Delete(id, db.Upsert()),
		"read Fence":             errOf(s.Read(id, db.Fence(1))),
		"read WithMetadata":      errOf(s.Read(id, db.WithMetadata(nil))),
		"search Returning":       errOf(s.Search(nil, 0, 0, db.Returning(&r))),
		"search IfMatch":         errOf(s.Search(nil, 0, 0, db.IfMatch("x"))),
	} {
		if !errors.Is(err, db.ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", what, err)
		}
	}
	if r, err := s.Read(id); err != nil || string(r.Bytes()) != "as it was" {
		t.Errorf("%v, %v", r, err)
	}
	want(t, errOf(s.Read(s.id("b"))), db.ErrNotFound)
}
