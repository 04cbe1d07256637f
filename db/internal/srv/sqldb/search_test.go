package sqldb

import (
	"strings"
	"testing"

	"github.com/micro/go-platform/db/internal/srv/driver"
	"github.com/micro/go-platform/internal/sqlstore"
)

// FuzzStatement checks that nothing of the caller's is in the text of a search.
func FuzzStatement(f *testing.F) {
	f.Add("k", "low", "high", "order", "id", true, true)
	f.Add("' OR 1=1 --", "%", "_", "`x`", "?", false, false)
	f.Fuzz(func(t *testing.T, key, low, high, order, id string, exact, reverse bool) {
		q := driver.Query{Where: []driver.Condition{{Key: key, Low: low, High: high, Exact: exact}}, Order: order, Reverse: reverse, After: &driver.Cursor{ID: id, Value: low}, Limit: 5}
		for _, d := range []dialect{dialectOf(sqlstore.SQLite), dialectOf(sqlstore.MySQL), dialectOf(sqlstore.Postgres)} {
			checkStatement(t, d, q)
		}
	})
}

func checkStatement(t *testing.T, d dialect, q driver.Query) {
	t.Helper()
	text, args := d.statement("shop", q)
	if n := strings.Count(text, "?"); n != len(args) {
		t.Fatalf("%d arguments for %d places in %s", len(args), n, text)
	}
	// The text depends on the shape alone.
	same, _ := d.statement("shop", driver.Query{
		Where: []driver.Condition{{Key: "k", Low: "a", High: "b", Exact: q.Where[0].Exact}}, Order: map[bool]string{true: "o"}[q.Order != ""],
		Reverse: q.Reverse, After: &driver.Cursor{ID: "i", Value: "v"}, Limit: 9,
	})
	if text != same {
		t.Errorf("%s\ndiffers from\n%s", text, same)
	}
}
