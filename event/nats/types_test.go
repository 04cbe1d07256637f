package nats

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/event/plugin"
)

// A description says the types, unless it would be too long.
func TestDescriptions(t *testing.T) {
	long := strings.Repeat("x", 250)
	for _, c := range []struct {
		types, want []string
		ok          bool
	}{
		{nil, []string{"*"}, true},
		{[]string{"b", "a.*", `odd "] type`}, []string{"a.*", "b", `odd "] type`}, true},
		{[]string{long + "1", long + "2", long + "3", long + "4", long + "5", long + "6", long + "7", long + "8", long + "9"}, nil, false},
	} {
		f, err := plugin.NewFilter(c.types...)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := types(described(f)); ok != c.ok || !slices.Equal(got, c.want) {
			t.Errorf("%.80q: got %q, %v", c.types, got, ok)
		}
	}
	for _, s := range []string{"", "of somebody else", `types ["a"`, `types ["a" b]`, `types ["\q"]`} {
		if got, ok := types(s); ok {
			t.Errorf("%s: got %q", s, got)
		}
	}
}

// The time counts from the first look that found nobody, while the looks go on.
func TestAbsences(t *testing.T) {
	a, at := make(absences), time.Now()
	for i, c := range []struct{ after, want time.Duration }{
		{0, 0}, {10 * time.Second, 10 * time.Second}, {10 * time.Second, 20 * time.Second},
		{time.Hour, 0}, {time.Second, time.Second},
	} {
		at = at.Add(c.after)
		if got := a.note("s", at); got != c.want {
			t.Errorf("look %d: %v, want %v", i, got, c.want)
		}
	}
}
