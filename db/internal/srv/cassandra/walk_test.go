package cassandra

import (
	"testing"

	"github.com/micro/go-platform/db/internal/srv/driver"
)

func TestSpan(t *testing.T) {
	exact := driver.Condition{Key: "c", Low: "sred", High: "sred\x00", Exact: true}
	low := driver.Condition{Key: "n", Low: "n5", High: "o"}
	high := driver.Condition{Key: "n", Low: "n", High: "n9"}
	for _, c := range []struct {
		name string
		q    driver.Query
		want driver.Condition
	}{
		{"ids", driver.Query{}, driver.Condition{Key: self, Low: "s", High: "t"}},
		{"ids with ranges", driver.Query{Where: []driver.Condition{low}}, driver.Condition{Key: self, Low: "s", High: "t"}},
		{"one value", driver.Query{Where: []driver.Condition{low, exact}}, exact},
		{"order", driver.Query{Where: []driver.Condition{exact}, Order: "n"}, driver.Condition{Key: "n", High: "\U0010FFFF"}},
		{"order with ranges", driver.Query{Where: []driver.Condition{low, high}, Order: "n"}, driver.Condition{Key: "n", Low: "n5", High: "n9"}},
	} {
		if got := span(c.q); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestNext(t *testing.T) {
	w := &walk{}
	if places, err := w.next(3); err != nil || len(places) != 0 {
		t.Errorf("of nothing: %v, %v", places, err)
	}
	if !(place{"a", "b"}).before(place{"a", "c"}) || (place{"b", "a"}).before(place{"a", "c"}) {
		t.Error("places are not ordered by value, then id")
	}
}
