package records

import (
	"cmp"
	"math"
	"math/big"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/micro/go-platform/db"
	pb "github.com/micro/go-platform/db/proto"
)

func integer(i int64) *pb.Value { return &pb.Value{Kind: &pb.Value_Integer{Integer: i}} }
func float(f float64) *pb.Value { return &pb.Value{Kind: &pb.Value_Real{Real: f}} }
func words(s string) *pb.Value  { return &pb.Value{Kind: &pb.Value_Text{Text: s}} }

// compare orders an integer and a float exactly.
func compare(i int64, f float64) int {
	return new(big.Float).SetInt64(i).Cmp(big.NewFloat(f))
}

// FuzzNumbers checks the order of terms against exact arithmetic.
func FuzzNumbers(f *testing.F) {
	for _, i := range []int64{0, 1, -1, 1 << 53, 1<<53 + 1, -1<<53 - 1, math.MaxInt64, math.MaxInt64 - 1, math.MinInt64, math.MinInt64 + 1} {
		for _, x := range []float64{0, math.Copysign(0, -1), 1, 0.5, -0.5, 1 << 53, 1 << 63, -1 << 63, math.MaxFloat64, math.SmallestNonzeroFloat64} {
			f.Add(i, i+1, x, -x)
		}
	}
	f.Fuzz(func(t *testing.T, i, j int64, x, y float64) {
		if math.IsNaN(x) || math.IsInf(x, 0) || math.IsNaN(y) || math.IsInf(y, 0) {
			return
		}
		for what, c := range map[string]struct {
			a, b *pb.Value
			want int
		}{
			"integers": {integer(i), integer(j), cmp.Compare(i, j)},
			"floats":   {float(x), float(y), cmp.Compare(x, y)},
			"both":     {integer(i), float(x), compare(i, x)},
		} {
			if got := strings.Compare(term(c.a), term(c.b)); got != c.want {
				t.Errorf("%s: %v and %v compare as %d, want %d", what, c.a, c.b, got, c.want)
			}
		}
	})
}

// FuzzPrefix checks that a prefix's bounds hold what begins with it, and are
// UTF-8, which Elasticsearch and Cassandra want.
func FuzzPrefix(f *testing.F) {
	f.Add("a", "ab")
	f.Add("", "x")
	f.Add("\ud7ff", "\ue000")
	f.Add("a\U0010ffff", "b")
	f.Add("%", "a%")
	f.Fuzz(func(t *testing.T, prefix, text string) {
		if !utf8.ValidString(prefix) || !utf8.ValidString(text) {
			return
		}
		for op, want := range map[pb.Condition_Op]bool{
			pb.Condition_PREFIX: strings.HasPrefix(text, prefix), pb.Condition_EQUAL: text == prefix,
			pb.Condition_LESS: text < prefix, pb.Condition_AT_MOST: text <= prefix,
			pb.Condition_GREATER: text > prefix, pb.Condition_AT_LEAST: text >= prefix,
		} {
			c := condition("k", op, words(prefix))
			if !utf8.ValidString(c.Low) || !utf8.ValidString(c.High) {
				t.Errorf("%v %q: bounds %q, %q are not UTF-8", op, prefix, c.Low, c.High)
			}
			for value, want := range map[*pb.Value]bool{words(text): want, integer(1): false, {Kind: &pb.Value_Flag{}}: false} {
				got := term(value)
				if (got >= c.Low && got < c.High) != want {
					t.Errorf("%q %v %q: got %v, want %v", value, op, prefix, !want, want)
				}
			}
		}
	})
}

// FuzzNames checks that no name gets through that could mean something in SQL,
// CQL or a path.
func FuzzNames(f *testing.F) {
	for _, name := range []string{"micro", "a_1", "", "A", "1", "_x", "a b", "a;b", "a'b", "a/../b", "ａ", "a\x00", strings.Repeat("a", 41)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		database, _, databaseErr := place(&pb.Database{Name: name})
		_, table, tableErr := place(&pb.Database{Table: name})
		if (databaseErr == nil) != (tableErr == nil) {
			t.Errorf("%q: %v as a database, %v as a table", name, databaseErr, tableErr)
		}
		if databaseErr != nil || tableErr != nil {
			return
		}
		for _, got := range []string{database, table} {
			if name != "" && got != name || got == "" || len(got) > db.MaxName {
				t.Errorf("%q became %q", name, got)
			}
			if strings.Trim(got, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || got[0] < 'a' || got[0] > 'z' {
				t.Errorf("%q got through", got)
			}
		}
	})
}
