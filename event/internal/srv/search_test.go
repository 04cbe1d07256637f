package srv_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/micro/go-platform/event/internal/eventlog"
	eventsrv "github.com/micro/go-platform/event/internal/srv"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
)

// crowd returns records of many types, whose times go with the log, but for some.
func crowd(n int) []*eventlog.Entry {
	r := rand.New(rand.NewPCG(1, 2))
	types := []string{"a", "a.b", "b", "rare.x", "rare.y", "micro.event.dead.d"}
	all := make([]*eventlog.Entry, n)
	for i := range all {
		typ := types[r.IntN(3)]
		switch x := r.IntN(1000); {
		case x < 3:
			typ = types[3+x]
		case x < 300:
			typ = fmt.Sprint("many.t", r.IntN(150))
		}
		at := int64(1000 + i)
		if r.IntN(100) == 0 {
			at = int64(1000 + r.IntN(n))
		}
		all[i] = &eventlog.Entry{Record: &pb.Record{
			Id: fmt.Sprint("id", i), Type: typ, Timestamp: at, TimestampNano: at * int64(time.Second), Appended: int64(i + 1), Data: fmt.Sprint("d", i),
		}}
	}
	return all
}

func fill(t testing.TB, s eventlog.Store, all []*eventlog.Entry) {
	t.Helper()
	for len(all) > 0 {
		n := min(len(all), 1000)
		if err := s.Commit(t.Context(), all[:n], nil); err != nil {
			t.Fatal(err)
		}
		all = all[n:]
	}
}

// TestSearchAgreesWithMemory asks the stores of a crowd what the simplest store
// answers too.
func TestSearchAgreesWithMemory(t *testing.T) {
	const n = 12_000
	memory := eventlog.NewMemory()
	fill(t, memory, crowd(n))
	on(t, func(t *testing.T, open opener) {
		s, end := open()
		defer end()
		fill(t, s, crowd(n))
		r := rand.New(rand.NewPCG(3, 4))
		for range 300 {
			q := eventlog.Query{Limit: int64(1 + r.IntN(60)), Reverse: r.IntN(2) == 0}
			types := [][]string{{"*", "micro.event.*"}, {"a"}, {"a.*"}, {"rare.*"}, {"many.*"}, {"many.t7"}, {"none.*"}, {"micro.event.*"}}[r.IntN(8)]
			q.Filter = filter(t, types...)
			if r.IntN(2) == 0 {
				q.From = int64(1000+r.IntN(n)) * int64(time.Second)
			}
			if r.IntN(2) == 0 {
				q.To = q.From + int64(1+r.IntN(n))*int64(time.Second)
			}
			if r.IntN(3) == 0 {
				q.Offset = int64(r.IntN(500))
			}
			if r.IntN(3) == 0 {
				q.After = uint64(1 + r.IntN(n))
			}
			want, _, err := memory.Search(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := s.Search(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(sequences(got)) != fmt.Sprint(sequences(want)) {
				t.Errorf("%v from %d to %d after %d, limit %d offset %d reverse %t: got %v, want %v",
					types, q.From/1e9, q.To/1e9, q.After, q.Limit, q.Offset, q.Reverse, sequences(got), sequences(want))
			}
		}
	}, inSQLite, inMySQL, inPostgres)
}

func BenchmarkSearch(b *testing.B) {
	const n = 200_000
	s, end := eventsrv.OpenSQL(b, "sqlite://"+filepath.Join(b.TempDir(), "event.db"), slog.New(slog.DiscardHandler))
	defer end()
	fill(b, s, crowd(n))
	types := func(types ...string) plugin.Filter {
		f, err := plugin.NewFilter(types...)
		if err != nil {
			b.Fatal(err)
		}
		return f
	}
	all := types("*")
	for name, q := range map[string]eventlog.Query{
		"RarePrefix": {Filter: types("rare.*")}, "NoPrefix": {Filter: types("none.*")}, "CommonPrefix": {Filter: types("a.*")},
		"EmptyHour": {Filter: all, From: 1e9, To: 2e9}, "LastHour": {Filter: all, From: (n - 2600) * 1e9, To: (n + 1000) * 1e9},
		"WholeLog": {Filter: all, From: 1e9}, "LastHalf": {Filter: all, From: n / 2 * 1e9},
	} {
		q.Limit = 20
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := s.Search(b.Context(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
