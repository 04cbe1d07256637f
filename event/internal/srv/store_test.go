package srv_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/micro/go-platform/event/internal/eventlog"
	eventsrv "github.com/micro/go-platform/event/internal/srv"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(backend.StopAfter(m)) }

func quiet(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

// opener opens the same log each time.
type opener func() (eventlog.Store, func())

// kind is a kind of store.
type kind struct {
	name string
	log  func(t *testing.T) opener
}

var (
	inMemory = kind{"memory", func(*testing.T) opener {
		m := eventlog.NewMemory()
		return func() (eventlog.Store, func()) { return m, func() {} }
	}}
	inSQLite = kind{"sqlite", func(t *testing.T) opener {
		url := "sqlite://" + filepath.Join(t.TempDir(), "event.db")
		return func() (eventlog.Store, func()) { return eventsrv.OpenSQL(t, url, quiet(t)) }
	}}
	inMySQL = kind{"mysql", func(t *testing.T) opener {
		url := rpctest.MySQLURL(t, backend.Shared)
		return func() (eventlog.Store, func()) { return eventsrv.OpenSQL(t, url, quiet(t)) }
	}}
	inPostgres = kind{"postgres", func(t *testing.T) opener {
		url := backend.Postgres(t, backend.Shared).URL
		return func() (eventlog.Store, func()) { return eventsrv.OpenSQL(t, url, quiet(t)) }
	}}
	inNATS = kind{"nats", func(t *testing.T) opener {
		url := backend.NATS(t).URL
		return func() (eventlog.Store, func()) { return eventsrv.OpenNATS(t, url, "suite") }
	}}
)

// on runs the test on each of the kinds.
func on(t *testing.T, test func(t *testing.T, open opener), kinds ...kind) {
	t.Helper()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { test(t, k.log(t)) })
	}
}

func entry(i int) *eventlog.Entry {
	typ := []string{"a", "a.b", "b"}[i%3]
	return &eventlog.Entry{Record: &pb.Record{
		Id: fmt.Sprint("id", i), Type: typ, Timestamp: int64(1000 + i), TimestampNano: int64(1000+i) * int64(time.Second),
		Appended: time.Now().UnixNano(), Data: fmt.Sprint("data", i),
	}}
}

func commit(t *testing.T, s eventlog.Store, entries ...*eventlog.Entry) {
	t.Helper()
	if err := s.Commit(t.Context(), entries, nil); err != nil {
		t.Fatal(err)
	}
}

func filter(t *testing.T, types ...string) plugin.Filter {
	t.Helper()
	f, err := plugin.NewFilter(types...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func sequences(records []*pb.Record) (all []uint64) {
	for _, r := range records {
		all = append(all, r.Sequence)
	}
	return all
}

func wantSequences(t *testing.T, what string, records []*pb.Record, want ...uint64) {
	t.Helper()
	if fmt.Sprint(sequences(records)) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, sequences(records), want)
	}
}

// between returns a time after all that was done and before all that will be,
// however coarse the clock.
func between() time.Time {
	before, now := time.Now(), time.Now()
	for !now.After(before) {
		now = time.Now()
	}
	for !time.Now().After(now) {
		runtime.Gosched()
	}
	return now
}

func TestStores(t *testing.T) {
	on(t, func(t *testing.T, open opener) {
		s, closeStore := open()
		id := s.ID()
		middle := writeTen(t, s)
		readBack(t, s, middle)
		searchAll(t, s)
		eraseAndKeepStates(t, s)
		closeStore()

		s, closeStore = open()
		defer closeStore()
		if s.ID() != id {
			t.Errorf("the log is %s after it was opened again, was %s", s.ID(), id)
		}
		openedAgain(t, s)
	}, inMemory, inSQLite, inMySQL, inPostgres, inNATS)
}

// writeTen commits nine records and another one with the id of the fifth. It
// returns a time after the first five.
func writeTen(t *testing.T, s eventlog.Store) (middle int64) {
	t.Helper()
	var all []*eventlog.Entry
	for i := range 9 {
		all = append(all, entry(i))
	}
	commit(t, s, all[:5]...)
	middle = between().UnixNano()
	for _, e := range all[5:] {
		e.Record.Appended = time.Now().UnixNano()
	}
	commit(t, s, all[5:]...)
	for i, e := range all {
		if e.Sequence != uint64(i)+1 || e.Duplicate {
			t.Errorf("entry %d: sequence %d, duplicate %v", i, e.Sequence, e.Duplicate)
		}
	}
	again := []*eventlog.Entry{entry(3), {Record: entry(4).Record, Again: true}}
	again[1].Record.Data = "new"
	commit(t, s, again...)
	if !again[0].Duplicate || again[0].Sequence != 4 || again[1].Duplicate || again[1].Sequence != 10 {
		t.Errorf("again: %+v, %+v", again[0], again[1])
	}
	return middle
}

// read returns all that follow after, by pages of limit.
func read(t *testing.T, s eventlog.Store, after uint64, f plugin.Filter, limit int) []*pb.Record {
	t.Helper()
	var found []*pb.Record
	for {
		records, cursor, err := s.Read(t.Context(), after, f, limit)
		if err != nil {
			t.Fatal(err)
		}
		if found = append(found, records...); cursor == after {
			return found
		}
		after = cursor
	}
}

// readBack reads what writeTen wrote: in order, by time and by id.
func readBack(t *testing.T, s eventlog.Store, middle int64) {
	t.Helper()
	wantSequences(t, "all, by 4", read(t, s, 0, filter(t), 4), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
	wantSequences(t, "after 8", read(t, s, 8, filter(t), 100), 9, 10)
	wantSequences(t, "after the end", read(t, s, 10, filter(t), 100))
	wantSequences(t, "a.*", read(t, s, 0, filter(t, "a.*"), 2), 2, 5, 8, 10)
	wantSequences(t, "a, b", read(t, s, 0, filter(t, "a", "b"), 3), 1, 3, 4, 6, 7, 9)

	for nano, want := range map[int64]uint64{1: 0, middle: 5, time.Now().Add(time.Hour).UnixNano(): 10} {
		if got, err := s.Before(t.Context(), nano); err != nil || got != want {
			t.Errorf("Before(%d): %d, %v; want %d", nano, got, err, want)
		}
	}
	for id, want := range map[string]string{"id0": "data0", "id4": "new", "nobody": ""} {
		if r, err := s.Find(t.Context(), id); err != nil || r.GetData() != want {
			t.Errorf("Find(%s): %v, %v", id, r, err)
		}
	}
}

// searchAll searches what writeTen wrote.
func searchAll(t *testing.T, s eventlog.Store) {
	t.Helper()
	search := func(what string, q eventlog.Query, want ...uint64) {
		t.Helper()
		if q.Limit == 0 {
			q.Limit = 100
		}
		records, cut, err := s.Search(t.Context(), q)
		if err != nil || cut {
			t.Errorf("%s: %v, %v", what, cut, err)
		}
		wantSequences(t, what, records, want...)
	}
	second := int64(time.Second)
	search("everything", eventlog.Query{}, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
	search("by id", eventlog.Query{ID: "id4"}, 5, 10)
	search("by type", eventlog.Query{Filter: filter(t, "b")}, 3, 6, 9)
	search("by time", eventlog.Query{From: 1002 * second, To: 1004 * second}, 3, 4)
	search("a page", eventlog.Query{Offset: 2, Limit: 3}, 3, 4, 5)
	search("reverse", eventlog.Query{Reverse: true, Offset: 1, Limit: 2}, 9, 8)
	search("after", eventlog.Query{After: 8}, 9, 10)
	search("before", eventlog.Query{After: 3, Reverse: true}, 2, 1)
}

// eraseAndKeepStates erases both records of one id, and writes states of which
// "two" is left.
func eraseAndKeepStates(t *testing.T, s eventlog.Store) {
	t.Helper()
	ctx := t.Context()
	if n, err := s.Erase(ctx, "id4"); err != nil || n != 2 {
		t.Errorf("Erase: %d, %v", n, err)
	}
	if n, err := s.Erase(ctx, "nobody"); err != nil || n != 0 {
		t.Errorf("Erase of nobody: %d, %v", n, err)
	}
	if r, err := s.Find(ctx, "id4"); err != nil || r != nil {
		t.Errorf("Find after Erase: %v, %v", r, err)
	}
	states := []eventlog.State{{Name: "one / *", Data: []byte{1, 0, 255}}, {Name: "two", Data: []byte("2")}}
	for _, change := range [][]eventlog.State{states, {{Name: "two", Data: []byte("22")}}, {{Name: "one / *"}}} {
		if err := s.Commit(ctx, nil, change); err != nil {
			t.Fatal(err)
		}
	}
}

// openedAgain finds in the store what was left, and appends to it.
func openedAgain(t *testing.T, s eventlog.Store) {
	t.Helper()
	ctx := t.Context()
	kept, err := s.States(ctx)
	if err != nil || len(kept) != 1 || kept[0].Name != "two" || string(kept[0].Data) != "22" {
		t.Errorf("states: %v, %v", kept, err)
	}
	if err := s.Commit(ctx, []*eventlog.Entry{entry(20)}, []eventlog.State{{Name: "two", Data: []byte("3")}}); err != nil {
		t.Fatal(err)
	}
	if _, last, err := s.Bounds(ctx); err != nil || last != 11 {
		t.Errorf("last: %d, %v", last, err)
	}
	wantSequences(t, "opened again", read(t, s, 0, filter(t), 100), 1, 2, 3, 4, 6, 7, 8, 9, 11)
}

// Who opens the log last writes; the other one finds out, whoever writes first.
func TestFencing(t *testing.T) {
	for _, c := range []struct {
		name       string
		olderFirst bool
	}{{"newer first", false}, {"older first", true}} {
		t.Run(c.name, func(t *testing.T) {
			on(t, func(t *testing.T, open opener) { fencing(t, open, c.olderFirst) }, inMySQL, inPostgres, inNATS)
		})
	}
}

// Who does not write finds out when it looks.
func TestFencingIsSeen(t *testing.T) {
	on(t, func(t *testing.T, open opener) {
		first, closeFirst := open()
		defer closeFirst()
		if _, _, err := first.Bounds(t.Context()); err != nil {
			t.Error(err)
		}
		second, closeSecond := open()
		defer closeSecond()
		if _, _, err := first.Bounds(t.Context()); !errors.Is(err, eventlog.ErrFenced) {
			t.Errorf("the first looks: %v", err)
		}
		if _, _, err := second.Bounds(t.Context()); err != nil {
			t.Errorf("the second looks: %v", err)
		}
	}, inMySQL, inPostgres)
}

func fencing(t *testing.T, open opener, olderFirst bool) {
	state := func(text string) []eventlog.State { return []eventlog.State{{Name: "s", Data: []byte(text)}} }
	older, closeOlder := open()
	defer closeOlder()
	for _, text := range []string{"oldest", "old"} {
		if err := older.Commit(t.Context(), nil, state(text)); err != nil {
			t.Fatal(err)
		}
	}
	newer, closeNewer := open()
	defer closeNewer()
	if states, err := newer.States(t.Context()); err != nil || len(states) != 1 || string(states[0].Data) != "old" {
		t.Errorf("the newer finds %v, %v", states, err)
	}
	late := func() {
		for range 2 {
			if err := older.Commit(t.Context(), nil, state("late")); !errors.Is(err, eventlog.ErrFenced) {
				t.Errorf("the older saves a state: %v", err)
			}
		}
	}
	if olderFirst {
		late()
	}
	if err := newer.Commit(t.Context(), []*eventlog.Entry{entry(1)}, state("new")); err != nil {
		t.Errorf("the newer saves a state: %v", err)
	}
	if err := newer.Commit(t.Context(), nil, []eventlog.State{{Name: "s"}, {Name: "other", Data: []byte("new")}}); err != nil {
		t.Errorf("the newer forgets a state: %v", err)
	}
	if !olderFirst {
		late()
	}
	if states, err := newer.States(t.Context()); err != nil || len(states) != 1 || states[0].Name != "other" {
		t.Errorf("states: %v, %v", states, err)
	}
}

func TestRetention(t *testing.T) {
	for _, c := range []struct {
		name   string
		before int64 // records
		bytes  int64
	}{{"age", 1500, 0}, {"size", 0, 1}} {
		t.Run(c.name, func(t *testing.T) {
			on(t, func(t *testing.T, open opener) {
				s, closeStore := open()
				defer closeStore()
				retention(t, s, c.before, c.bytes)
			}, inMemory, inSQLite, inMySQL, inPostgres) // NATS does it by itself; see TestRetentionOfNATS
		})
	}
}

func retention(t *testing.T, s eventlog.Store, before, bytes int64) {
	var all []*eventlog.Entry
	for i := range 2000 {
		e := entry(i)
		e.Record.Appended = int64(i)
		all = append(all, e)
	}
	commit(t, s, all...)
	for more := true; more; {
		var err error
		if more, err = s.Expire(t.Context(), before, bytes); err != nil {
			t.Fatal(err)
		}
	}
	expired, last, err := s.Bounds(t.Context())
	want := uint64(1500)
	if bytes > 0 {
		want = 2000
	}
	if err != nil || expired != want || last != 2000 {
		t.Errorf("expired %d, last %d, %v; want %d, 2000", expired, last, err, want)
	}
	commit(t, s, entry(5000)) // sequences go on
	if _, last, _ := s.Bounds(t.Context()); last != 2001 {
		t.Errorf("last %d", last)
	}
}

// An id is known as long as the window, which is an hour here.
func TestDedupeWindow(t *testing.T) {
	on(t, func(t *testing.T, open opener) {
		s, closeStore := open()
		defer closeStore()
		for i, age := range []time.Duration{2 * time.Hour, 50 * time.Minute} {
			e := entry(i)
			e.Record.Appended = time.Now().Add(-age).UnixNano()
			commit(t, s, e)
		}
		again := []*eventlog.Entry{entry(0), entry(1)}
		commit(t, s, again...)
		if e := again[0]; e.Duplicate || e.Sequence != 3 {
			t.Errorf("after two hours: duplicate %v, sequence %d; want a new one", e.Duplicate, e.Sequence)
		}
		if e := again[1]; !e.Duplicate || e.Sequence != 2 {
			t.Errorf("after 50 minutes: duplicate %v, sequence %d; want the first", e.Duplicate, e.Sequence)
		}
	}, inSQLite, inMySQL, inPostgres) // the others go by clocks of their own
}

// A log under retention tells a reader what it missed.
func TestSkippedIsTold(t *testing.T) {
	m := eventlog.NewMemory()
	var all []*eventlog.Entry
	for i := range 10 {
		e := entry(i)
		e.Record.Appended = int64(i + 1)
		all = append(all, e)
	}
	commit(t, m, all...)
	if _, err := m.Expire(context.Background(), 6, 0); err != nil {
		t.Fatal(err)
	}
	l, err := eventlog.Open(t.Context(), m, eventlog.Config{Logger: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Stop() }() // the store is memory
	page, err := l.Read(t.Context(), 2, filter(t), 100)
	if err != nil || page.Skipped != 3 || len(page.Records) != 5 {
		t.Errorf("%+v, %v", page, err)
	}
}
