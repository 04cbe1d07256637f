package cassandra

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/micro/go-platform/db/dbtest"
	"github.com/micro/go-platform/db/internal/srv/driver"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(backend.StopAfter(m)) }

const table = "things"

// observed notes the statements that a store sends.
type observed struct {
	*store
	mu     sync.Mutex
	levels []gocql.Consistency // of reads
	rows   int                 // of the index, written or deleted
}

func (o *observed) ObserveQuery(_ context.Context, q gocql.ObservedQuery) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if strings.HasPrefix(q.Statement, "SELECT") {
		o.levels = append(o.levels, q.Query.GetConsistency())
	}
}

func (o *observed) ObserveBatch(_ context.Context, b gocql.ObservedBatch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, text := range b.Statements {
		if b.Err == nil && strings.Contains(text, ".t_") {
			o.rows++
		}
	}
}

// since returns what was noted since the last call.
func (o *observed) since() (levels []gocql.Consistency, rows int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	levels, rows = o.levels, o.rows
	o.levels, o.rows = nil, 0
	return levels, rows
}

func observe(t *testing.T) *observed {
	t.Helper()
	c := driver.Config{Hosts: []string{backend.Cassandra(t, backend.Shared).Addr}, Database: dbtest.NewName("cassandra")}
	o := &observed{}
	conf := cluster(c)
	conf.QueryObserver, conf.BatchObserver = o, o
	var err error
	if o.store, err = open(t.Context(), c, conf); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, o.Close()) })
	return o
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write is a record, in its nth state, with terms by key.
func write(id string, n int, terms map[string]string) driver.Write {
	r := &driver.Record{ID: id, ETag: fmt.Sprintf("%s %d", id, n), Data: []byte(fmt.Sprint(n))}
	for key, value := range terms {
		r.Terms = append(r.Terms, driver.Term{Key: key, Value: value})
	}
	return driver.Write{Record: r}
}

func (o *observed) update(t *testing.T, w driver.Write) {
	t.Helper()
	if _, err := o.Update(t.Context(), table, w); err != nil {
		t.Fatal(err)
	}
}

// An update that leaves the metadata as they are leaves the index as it is, and
// one that changes a value changes the row of that: what is deleted there is in
// the way of searches for a while.
func TestUpdatesKeepRows(t *testing.T) {
	o := observe(t)
	terms := map[string]string{"a": "s1", "b": "s2", "c": "s3"}
	must(t, o.Create(t.Context(), table, write("x", 0, terms)))
	if _, rows := o.since(); rows != 4 {
		t.Errorf("a record with 3 terms has %d rows", rows)
	}
	for n := range 1000 {
		o.update(t, write("x", 1+n, terms))
	}
	if _, rows := o.since(); rows != 0 {
		t.Errorf("1000 updates wrote %d rows", rows)
	}
	terms["b"] = "s4"
	o.update(t, write("x", 1001, terms))
	delete(terms, "c")
	o.update(t, write("x", 1002, terms))
	if _, rows := o.since(); rows != 3 { // b comes and goes, c goes
		t.Errorf("changing one value and removing another changed %d rows", rows)
	}
	if left := o.index(t); left != 3 {
		t.Errorf("%d rows are left", left)
	}
	must(t, o.Delete(t.Context(), table, write("x", 0, nil)))
	if left := o.index(t); left != 0 {
		t.Errorf("%d rows are left of a deleted record", left)
	}
}

// index counts the rows.
func (o *observed) index(t *testing.T) (n int) {
	t.Helper()
	must(t, o.query(table, `SELECT COUNT(*) FROM {t}`).ScanContext(t.Context(), &n))
	return n
}

// Rows that nobody removed, or that come back, do no harm.
func TestDeadRows(t *testing.T) {
	o := observe(t)
	must(t, o.Create(t.Context(), table, write("x", 0, map[string]string{"a": "s2"})))
	must(t, o.Create(t.Context(), table, write("y", 0, map[string]string{"a": "s2"})))
	for _, r := range []row{{"a", "s1", "dead"}, {"a", "s2", "dead"}, {"a", "s3", "dead"}, {"b", "s1", "dead"}, {self, idTerm("x"), "dead"}} {
		must(t, o.store.index(t.Context(), table, addTerm, "x", []row{r}))
		must(t, o.store.index(t.Context(), table, addTerm, "gone", []row{r}))
	}
	exact := func(v string) []driver.Condition {
		return []driver.Condition{{Key: "a", Low: v, High: v + "\x00", Exact: true}}
	}
	for name, c := range map[string]struct {
		q    driver.Query
		want string
	}{
		"ids":        {driver.Query{}, "x y"},
		"value":      {driver.Query{Where: exact("s2")}, "x y"},
		"old value":  {driver.Query{Where: exact("s1")}, ""},
		"order":      {driver.Query{Order: "a"}, "x y"},
		"backwards":  {driver.Query{Order: "a", Reverse: true}, "y x"},
		"no such":    {driver.Query{Order: "b"}, ""},
		"by offset":  {driver.Query{Order: "a", Offset: 1}, "y"},
		"after":      {driver.Query{Order: "a", After: &driver.Cursor{Value: "s2", ID: "x"}}, "y"},
		"after that": {driver.Query{After: &driver.Cursor{ID: "y"}}, ""},
	} {
		c.q.Limit, c.q.Bytes = 10, 1<<20
		found, err := o.Search(t.Context(), table, c.q)
		must(t, err)
		var ids []string
		for _, r := range found {
			ids = append(ids, r.ID)
		}
		if got := strings.Join(ids, " "); got != c.want {
			t.Errorf("%s: found %q, want %q", name, got, c.want)
		}
	}
}

// On one node no answer tells how many were asked.
func TestConsistency(t *testing.T) {
	o := observe(t)
	must(t, o.Create(t.Context(), table, write("x", 0, map[string]string{"a": "s1"})))
	for eventual, want := range map[bool]gocql.Consistency{true: gocql.One, false: gocql.Quorum} {
		o.since()
		_, err := o.Read(t.Context(), table, "x", eventual)
		must(t, err)
		found, err := o.Search(t.Context(), table, driver.Query{Order: "a", Limit: 10, Bytes: 1 << 20, Eventual: eventual})
		must(t, err)
		levels, _ := o.since()
		if other := func(l gocql.Consistency) bool { return l != want }; len(found) != 1 || len(levels) < 2+buckets || slices.ContainsFunc(levels, other) {
			t.Errorf("eventual %v: %d found by reads with %v, want %v", eventual, len(found), levels, want)
		}
	}
}

// A deletion whose answer was lost can be told from that of somebody else, and
// leaves nothing for ever but the fence.
func TestMarkOfDeletion(t *testing.T) {
	o := observe(t)
	for _, fence := range []string{"", driver.Fence(7)} {
		w := write("x"+fence, 0, nil)
		must(t, o.Create(t.Context(), table, w))
		c, err := o.current(t.Context(), table, w.Record.ID, false)
		must(t, err)
		w.Fence = fence
		applied, _, err := o.swap(t.Context(), o.remove(table, w, c, 42))
		if err != nil || !applied {
			t.Fatalf("applied %v, %v", applied, err)
		}
		after, err := o.current(t.Context(), table, w.Record.ID, true)
		if err != nil || after.there() || after.created != 42 || after.fence != fence {
			t.Errorf("fence %q: %+v, %v", fence, after, err)
		}
		var mark, forever *int
		must(t, o.query(table, `SELECT TTL(created), TTL(fence) FROM {r} WHERE id = ?`, w.Record.ID).ScanContext(t.Context(), &mark, &forever))
		if mark == nil || forever != nil {
			t.Errorf("fence %q: the mark ends in %v seconds, the fence in %v", fence, mark, forever)
		}
	}
}

// A range or a prefix alone reads what it finds, not all records: pages of it hold
// the right ones in either order.
func TestARangeAloneReadsWhatItFinds(t *testing.T) {
	o := observe(t)
	const all, few = 300, 12
	var want []string
	for i := range all {
		id, v := fmt.Sprintf("%03d", (i*7)%all), fmt.Sprintf("s%03d", i)
		must(t, o.Create(t.Context(), table, write(id, 0, map[string]string{"v": v, "w": "s"})))
		if i < few {
			want = append(want, id)
		}
	}
	slices.Sort(want)
	narrow := driver.Condition{Key: "v", Low: "s000", High: fmt.Sprintf("s%03d", few)}
	wide := driver.Condition{Key: "w", Low: "s", High: "t"}
	for name, where := range map[string][]driver.Condition{"one": {narrow}, "two": {wide, narrow}} {
		for _, reverse := range []bool{false, true} {
			o.since()
			var got []string
			q := driver.Query{Where: where, Limit: 5, Reverse: reverse}
			for {
				found, err := o.Search(t.Context(), table, q)
				must(t, err)
				if len(found) == 0 {
					break
				}
				for _, r := range found {
					got = append(got, r.ID)
				}
				q.After = &driver.Cursor{ID: got[len(got)-1]}
			}
			if reverse {
				slices.Reverse(got)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, reverse %v: %v, want %v", name, reverse, got, want)
			}
			if reads, _ := o.since(); len(reads) >= all {
				t.Errorf("%s, reverse %v: %d reads of the index and of %d records", name, reverse, len(reads), all)
			}
		}
	}
}
