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
	"github.com/micro/go-platform/internal/lifecycle/lifecycletest"
)

// New returns a DB that is not started, with opts after the options that it needs.
// The suite stops it.
type New func(tb testing.TB, opts ...db.Option) db.DB

// Run is the suite for every plugin. Its tests share one table with a random name.
func Run(t *testing.T, n New) {
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
		{"WhileATableIsMade", making},
		{"Context", contexts},
		{"Lifecycle", life},
		{"FirstCalls", firstCalls},
		{"BadOptions", badOptions},
		{"NilRecords", nilRecords},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := n(t, db.Table(table), db.Timeout(30*time.Second))
			start(t, d)
			c.test(t, &suite{DB: d, new: n, table: table, mark: NewName("m")})
		})
	}
}

// NewName returns a name for a table that no other test has.
func NewName(prefix string) string { return fmt.Sprintf("%s_%08x", prefix, rand.Uint32()) }

// suite is one test: a DB on the shared table, and a mark of its own, under
// which it creates and finds its records.
type suite struct {
	db.DB
	new   New
	table string
	mark  string
}

func start(t testing.TB, d db.DB) {
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

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, err, sentinel error) {
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
func (s *suite) find(t *testing.T, key string, opts ...db.SearchOption) []any {
	t.Helper()
	found, err := s.Search(db.Metadata{"mark": s.mark}, 0, 0, opts...)
	must(t, err)
	var values []any
	for _, r := range found {
		values = append(values, r.Metadata()[key])
	}
	return values
}

func (s *suite) expect(t *testing.T, what, key string, want []any, opts ...db.SearchOption) {
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

// life is what all plugins of all features have in common.
func life(t *testing.T, s *suite) {
	lifecycletest.Run(t, lifecycletest.Case[db.DB, db.Option]{
		New: func(tb testing.TB, opts ...db.Option) db.DB {
			return s.new(tb, append([]db.Option{db.Table(s.table)}, opts...)...)
		},
		Call: func(d db.DB) error {
			id := NewName("life")
			if err := d.Create(db.NewRecord(id, nil, nil)); err != nil {
				return err
			}
			_, err := d.Read(id)
			return err
		},
		Bad: db.Timeout(-time.Second), Text: "db: option Timeout: -1s is not positive",
	})
}

// Each method starts a new plugin, and is refused by one that was stopped.
func firstCalls(t *testing.T, s *suite) {
	id := s.id("first")
	for _, c := range []struct {
		name string
		call func(d db.DB) error
	}{
		{"Create", func(d db.DB) error { return d.Create(db.NewRecord(id, nil, nil)) }},
		{"Update", func(d db.DB) error { return d.Update(db.NewRecord(id, nil, nil)) }},
		{"Put", func(d db.DB) error { return db.Put(d, id, []byte("x")) }},
		{"Read", func(d db.DB) error { return errOf(d.Read(id)) }},
		{"Get", func(d db.DB) error { return errOf(db.Get[[]byte](d, id)) }},
		{"Search", func(d db.DB) error { return errOf(d.Search(nil, 0, 0)) }},
		{"Each", func(d db.DB) error {
			for _, err := range db.Each(d, nil) {
				return err
			}
			return nil
		}},
		{"Delete", func(d db.DB) error { return d.Delete(id) }},
	} {
		d := s.new(t, db.Table(s.table))
		must(t, c.call(d))
		must(t, d.Stop())
		if err := c.call(d); !errors.Is(err, db.ErrStopped) || err.Error() != "db: stopped" {
			t.Errorf("%s after Stop: %v", c.name, err)
		}
		bad := s.new(t, db.Timeout(0))
		if err := c.call(bad); !errors.Is(err, db.ErrInvalid) || err.Error() != "db: option Timeout: 0s is not positive" {
			t.Errorf("%s with a bad option: %v", c.name, err)
		}
	}
}

func errOf[T any](_ T, err error) error { return err }

func badOptions(t *testing.T, s *suite) {
	for text, opt := range map[string]db.Option{
		`Database: "a-b" is not a name`: db.Database("a-b"),
		`Table: "" is not a name`:       db.Table(""),
		"Timeout: 0s is not positive":   db.Timeout(0),
	} {
		d := s.new(t, opt)
		for what, err := range map[string]error{
			"start": d.Start(), "init": d.Init(), "create": d.Create(db.NewRecord("x", nil, nil)), "read": errOf(d.Read("x")),
		} {
			if !errors.Is(err, db.ErrInvalid) || err.Error() != "db: option "+text {
				t.Errorf("%s: %v, want %s", what, err, text)
			}
		}
		must(t, d.Stop())
	}
	d := s.new(t)
	must(t, d.Init(db.Table(s.table)))
	if o := d.Options(); o.Table != s.table || o.Database == "" {
		t.Errorf("options %+v", o)
	}
	must(t, d.Start())
	want(t, d.Init(db.Timeout(0)), db.ErrInvalid)
	want(t, errOf(d.Read(s.id("x"))), db.ErrInvalid)
	must(t, d.Stop())
}

// A record that is nil changes nothing.
func nilRecords(t *testing.T, s *suite) {
	want(t, s.Create(nil), db.ErrInvalid)
	want(t, s.Update(nil), db.ErrInvalid)
}
