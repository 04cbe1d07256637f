package dbtest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/db"
)

func equality(t *testing.T, s *suite) {
	s.add(t, "v", "1", int64(1), 1.5, true, "true", "", "a", "A", int64(1<<53), int64(1<<53+1), 2.0, int64(0), false)
	s.expect(t, "text", "v", []any{"1"}, db.Where("v", db.Equal, "1"))
	s.expect(t, "integer", "v", []any{int64(1)}, db.Where("v", db.Equal, 1))
	s.expect(t, "float equal to an integer", "v", []any{int64(1)}, db.Where("v", db.Equal, 1.0))
	s.expect(t, "integer equal to a float", "v", []any{2.0}, db.Where("v", db.Equal, 2))
	s.expect(t, "float", "v", []any{1.5}, db.Where("v", db.Equal, 1.5))
	s.expect(t, "bool", "v", []any{true}, db.Where("v", db.Equal, true))
	s.expect(t, "no text", "v", []any{""}, db.Where("v", db.Equal, ""))
	s.expect(t, "letter case", "v", []any{"A"}, db.Where("v", db.Equal, "A"))
	s.expect(t, "beyond what a float holds", "v", []any{int64(1<<53 + 1)}, db.Where("v", db.Equal, int64(1<<53+1)))
	s.expect(t, "minus nought", "v", []any{int64(0)}, db.Where("v", db.Equal, math.Copysign(0, -1)))
	s.expect(t, "nothing", "v", nil, db.Where("v", db.Equal, "nobody"))
	s.expect(t, "no such key", "v", nil, db.Where("w", db.Equal, "1"))
	s.expect(t, "both", "v", nil, db.Where("v", db.Equal, "1"), db.Where("v", db.Equal, 1))
	found, err := s.Search(db.Metadata{"mark": s.mark, "v": true}, 0, 0)
	if err != nil || len(found) != 1 {
		t.Errorf("metadata: %d, %v", len(found), err)
	}
}

func ranges(t *testing.T, s *suite) {
	s.add(t, "v", int64(math.MinInt64), -1e300, int64(-2), -1.5, int64(-1), int64(0), 0.5, int64(1), int64(1<<53), int64(1<<53+1), 1e300,
		"", "a", "ab", "b", "é", "日", "😀", false, true)
	s.expect(t, "less", "v", []any{int64(math.MinInt64), -1e300, int64(-2)}, db.Where("v", db.Less, -1.5))
	s.expect(t, "at most", "v", []any{int64(math.MinInt64), -1e300, int64(-2), -1.5}, db.Where("v", db.AtMost, -1.5))
	s.expect(t, "greater", "v", []any{int64(1<<53 + 1), 1e300}, db.Where("v", db.Greater, int64(1<<53)))
	s.expect(t, "at least", "v", []any{int64(1 << 53), int64(1<<53 + 1), 1e300}, db.Where("v", db.AtLeast, float64(1<<53)))
	s.expect(t, "between", "v", []any{int64(-1), int64(0), 0.5}, db.Where("v", db.AtLeast, -1), db.Where("v", db.Less, 1))
	s.expect(t, "empty range", "v", nil, db.Where("v", db.Greater, 1), db.Where("v", db.Less, 1))
	s.expect(t, "texts", "v", []any{"ab", "b", "é", "日", "😀"}, db.Where("v", db.Greater, "a"))
	s.expect(t, "few texts", "v", []any{"", "a"}, db.Where("v", db.Less, "ab"))
	s.expect(t, "bools", "v", []any{true}, db.Where("v", db.Greater, false))
	s.expect(t, "ordered", "v", []any{"b", "ab", "a"}, db.Where("v", db.AtMost, "b"), db.Where("v", db.Greater, ""), db.OrderBy("v"), db.Descending())
}

func prefixes(t *testing.T, s *suite) {
	s.add(t, "v", "a", "ab", "abc", "b", "a%", "a_", "a*", "a\\", "A", "é", "e", "\U0010ffff", "\U0010ffffx", "\ud7ff", "a\x00", int64(1), true)
	s.expect(t, "ab", "v", []any{"ab", "abc"}, db.Where("v", db.Prefix, "ab"))
	for _, literal := range []string{"a%", "a_", "a*", "a\\", "a\x00"} {
		s.expect(t, literal, "v", []any{literal}, db.Where("v", db.Prefix, literal))
	}
	s.expect(t, "%", "v", nil, db.Where("v", db.Prefix, "%"))
	s.expect(t, "_", "v", nil, db.Where("v", db.Prefix, "_"))
	s.expect(t, "accent", "v", []any{"é"}, db.Where("v", db.Prefix, "é"))
	s.expect(t, "last character", "v", []any{"\U0010ffff", "\U0010ffffx"}, db.Where("v", db.Prefix, "\U0010ffff"))
	s.expect(t, "before the surrogates", "v", []any{"\ud7ff"}, db.Where("v", db.Prefix, "\ud7ff"))
	if got := s.find(t, "v", db.Where("v", db.Prefix, "")); len(got) != 15 {
		t.Errorf("every text: %q", got)
	}
	_, err := s.Search(nil, 0, 0, db.Where("v", db.Prefix, 1))
	want(t, err, db.ErrInvalid)
}

func order(t *testing.T, s *suite) {
	s.add(t, "v", "b", int64(2), true, "a", 1.5, false, "B", int64(-1), "é", "a", int64(10))
	must(t, s.Create(db.NewRecord(s.id("none"), db.Metadata{"mark": s.mark}, nil)))
	up := []any{false, true, int64(-1), 1.5, int64(2), int64(10), "B", "a", "a", "b", "é"}
	s.expect(t, "ascending", "v", up, db.OrderBy("v"))
	down := slices.Clone(up)
	slices.Reverse(down)
	s.expect(t, "descending", "v", down, db.OrderBy("v"), db.Descending())
	found, err := s.Search(db.Metadata{"mark": s.mark}, 0, 0, db.Where("v", db.Equal, "a"), db.OrderBy("v"))
	if err != nil || ids(found) != s.id("003")+" "+s.id("009") {
		t.Errorf("equal ones are in the order %q, %v", ids(found), err)
	}
	found, err = s.Search(db.Metadata{"mark": s.mark}, 0, 0, db.Where("v", db.Equal, "a"), db.OrderBy("v"), db.Descending())
	if err != nil || ids(found) != s.id("009")+" "+s.id("003") {
		t.Errorf("equal ones, descending, are in the order %q, %v", ids(found), err)
	}
	found, err = s.Search(db.Metadata{"mark": s.mark}, 3, 0)
	if err != nil || ids(found) != s.id("000")+" "+s.id("001")+" "+s.id("002") {
		t.Errorf("by id: %q, %v", ids(found), err)
	}
	found, err = s.Search(db.Metadata{"mark": s.mark}, 2, 0, db.Descending())
	if err != nil || ids(found) != s.id("none")+" "+s.id("010") {
		t.Errorf("by id, descending: %q, %v", ids(found), err)
	}
}

func pages(t *testing.T, s *suite) {
	const n = 70 // more than a service fetches at once
	for i := range n {
		must(t, s.Create(db.NewRecord(s.id(fmt.Sprintf("%03d", i)), db.Metadata{"mark": s.mark, "v": i % 7}, nil)))
	}
	for _, c := range []struct {
		name string
		opts []db.SearchOption
	}{
		{"by id", nil}, {"descending", []db.SearchOption{db.Descending()}},
		{"by value", []db.SearchOption{db.OrderBy("v")}}, {"by value, descending", []db.SearchOption{db.OrderBy("v"), db.Descending()}},
		{"range", []db.SearchOption{db.Where("v", db.AtLeast, 0), db.OrderBy("v")}},
	} {
		whole, err := s.Search(db.Metadata{"mark": s.mark}, 0, 0, c.opts...)
		must(t, err)
		if len(whole) != n {
			t.Fatalf("%s: %d of %d", c.name, len(whole), n)
		}
		var byCursor []db.Record
		for more := true; more; {
			opts := append(slices.Clip(c.opts), db.More(&more))
			if len(byCursor) > 0 {
				opts = append(opts, db.After(byCursor[len(byCursor)-1]))
			}
			page, err := s.Search(db.Metadata{"mark": s.mark}, 11, 0, opts...)
			must(t, err)
			if len(page) != 11 && more {
				t.Fatalf("%s: a page of %d", c.name, len(page))
			}
			byCursor = append(byCursor, page...)
		}
		if ids(byCursor) != ids(whole) {
			t.Errorf("%s: pages by cursor are\n%s, want\n%s", c.name, ids(byCursor), ids(whole))
		}
		page, err := s.Search(db.Metadata{"mark": s.mark}, 50, 15, c.opts...)
		if err != nil || ids(page) != ids(whole[15:65]) {
			t.Errorf("%s: by offset %q, %v", c.name, ids(page), err)
		}
	}
	first, err := s.Search(db.Metadata{"mark": s.mark}, 10, 0)
	must(t, err)
	must(t, s.Delete(first[9].Id())) // the cursor itself
	must(t, s.Create(db.NewRecord(s.id("000x"), db.Metadata{"mark": s.mark, "v": 0}, nil)))
	next, err := s.Search(db.Metadata{"mark": s.mark}, 1, 0, db.After(first[9]))
	if err != nil || ids(next) != s.id("010") {
		t.Errorf("after what was deleted comes %q, %v", ids(next), err)
	}
	if past, err := s.Search(db.Metadata{"mark": s.mark}, 10, n+100); err != nil || len(past) != 0 {
		t.Errorf("beyond the end: %q, %v", ids(past), err)
	}
}

func limits(t *testing.T, s *suite) {
	const n = db.DefaultLimit + 5
	for i := range n {
		must(t, s.Create(db.NewRecord(s.id(fmt.Sprintf("%03d", i)), db.Metadata{"mark": s.mark}, nil)))
	}
	for limit, expected := range map[int64]int{0: db.DefaultLimit, 1: 1, n: n, n + 1: n, db.MaxLimit: n, math.MaxInt64: n} {
		var more bool
		found, err := s.Search(db.Metadata{"mark": s.mark}, limit, 0, db.More(&more))
		if err != nil || len(found) != expected || more != (expected < n) {
			t.Errorf("limit %d: %d found, more %v, %v", limit, len(found), more, err)
		}
	}
	for _, c := range [][2]int64{{-1, 0}, {math.MinInt64, 0}, {10, -1}, {10, db.MaxOffset + 1}, {10, math.MaxInt64}} {
		_, err := s.Search(db.Metadata{"mark": s.mark}, c[0], c[1])
		want(t, err, db.ErrInvalid)
	}
}

// largeAnswer: a page is cut before it is too large for a message.
func largeAnswer(t *testing.T, s *suite) {
	const n = 12
	data := make([]byte, db.MaxBytes)
	for i := range n {
		must(t, s.Create(db.NewRecord(s.id(fmt.Sprintf("%03d", i)), db.Metadata{"mark": s.mark}, data)))
	}
	var more bool
	found, err := s.Search(db.Metadata{"mark": s.mark}, 0, 0, db.More(&more))
	if err != nil || len(found) == 0 || len(found) == n || !more {
		t.Errorf("%d of %d, more %v, %v", len(found), n, more, err)
	}
	got := 0
	for r, err := range db.Each(s.DB, db.Metadata{"mark": s.mark}) {
		must(t, err)
		if len(r.Bytes()) != len(data) {
			t.Errorf("%s has %d bytes", r.Id(), len(r.Bytes()))
		}
		got++
	}
	if got != n {
		t.Errorf("Each gave %d of %d", got, n)
	}
}

func followsUpdates(t *testing.T, s *suite) {
	s.add(t, "v", "red")
	id := s.id("000")
	for _, color := range []string{"blue", "red", "green"} {
		must(t, s.Update(db.NewRecord(id, db.Metadata{"mark": s.mark, "v": color}, nil)))
		for _, c := range []string{"red", "blue", "green"} {
			expected := []any{c}
			if c != color {
				expected = nil
			}
			s.expect(t, c+" while it is "+color, "v", expected, db.Where("v", db.Equal, c))
		}
	}
	must(t, s.Update(db.NewRecord(id, db.Metadata{"mark": s.mark}, nil)))
	s.expect(t, "a key that is gone", "v", nil, db.Where("v", db.Equal, "green"))
	must(t, s.Delete(id))
	s.expect(t, "a record that is gone", "v", nil)
	must(t, s.Create(db.NewRecord(id, db.Metadata{"mark": s.mark, "v": "new"}, nil)))
	s.expect(t, "a record that is back", "v", []any{"new"})
}

func badSearches(t *testing.T, s *suite) {
	var nine []db.SearchOption
	for range db.MaxWhere {
		nine = append(nine, db.Where("k", db.Equal, 1))
	}
	must(t, errOf(s.Search(nil, 0, 0, nine...)))
	for name, opts := range map[string][]db.SearchOption{
		"too many":    append(nine, db.Where("k", db.Equal, 1)),
		"empty key":   {db.Where("", db.Equal, 1)},
		"long key":    {db.Where(strings.Repeat("k", db.MaxKey+1), db.Equal, 1)},
		"operator":    {db.Where("k", "LIKE", "x")},
		"value":       {db.Where("k", db.Equal, nil)},
		"long value":  {db.Where("k", db.Equal, strings.Repeat("v", db.MaxMetadata+1))},
		"order":       {db.OrderBy("")},
		"long order":  {db.OrderBy(strings.Repeat("k", db.MaxKey+1))},
		"cursor":      {db.OrderBy("k"), db.After(db.NewRecord("x", nil, nil))},
		"consistency": {db.WithConsistency(7)},
	} {
		if _, err := s.Search(nil, 0, 0, opts...); err == nil {
			t.Errorf("%s: no error", name)
		} else {
			want(t, err, db.ErrInvalid)
		}
	}
	_, err := s.Search(nil, 0, 1, db.After(db.NewRecord("x", nil, nil)))
	want(t, err, db.ErrInvalid)
}

func eventual(t *testing.T, s *suite) {
	s.add(t, "v", "a")
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if got := s.find(t, "v", db.WithConsistency(db.Eventual)); len(got) == 1 {
			break
		} else if time.Now().After(deadline) {
			t.Fatal("never found")
		}
	}
	if _, err := s.Read(s.id("000"), db.WithConsistency(db.Eventual)); err != nil {
		t.Error(err)
	}
}
