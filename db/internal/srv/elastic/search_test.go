package elastic

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/micro/go-platform/db/internal/srv/driver"
)

// FuzzBody checks that what comes from the caller stays a value: in a search
// with other values every key and every structure is the same.
func FuzzBody(f *testing.F) {
	f.Add("k", "low", "high", "order", "id", true)
	f.Add(`"}},{"match_all":{}`, `\`, "\x00", "terms.v", "_id", false)
	f.Fuzz(func(t *testing.T, key, low, high, order, id string, exact bool) {
		for _, s := range []string{key, low, high, order, id} {
			if !utf8.ValidString(s) || s == "" {
				return
			}
		}
		query := func(key, low, high, order, id string) driver.Query {
			return driver.Query{Where: []driver.Condition{{Key: key, Low: low, High: high, Exact: exact}}, Order: order, After: &driver.Cursor{ID: id, Value: low}, Limit: 5}
		}
		got, want := shape(t, body(query(key, low, high, order, id))), shape(t, body(query("k", "l", "h", "o", "i")))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// shape sends a body through JSON and blanks its texts.
func shape(t *testing.T, b object) any {
	t.Helper()
	data, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return blank(v)
}

func blank(v any) any {
	switch x := v.(type) {
	case map[string]any:
		for k := range x {
			x[k] = blank(x[k])
		}
	case []any:
		for i := range x {
			x[i] = blank(x[i])
		}
	case string:
		return ""
	}
	return v
}

// FuzzPath checks that an id cannot leave its place in the path.
func FuzzPath(f *testing.F) {
	f.Add("a")
	f.Add("../../_all/_delete_by_query?x=#")
	f.Add("%2e%2e%2f\x00")
	f.Fuzz(func(t *testing.T, id string) {
		s := &store{prefix: "shop-"}
		rest, ok := strings.CutPrefix(place(s.index("orders"), "_doc", id), "/shop-orders/_doc/")
		if !ok || strings.Trim(rest, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Errorf("%q became %q", id, rest)
		}
	})
}
