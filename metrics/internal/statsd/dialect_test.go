package statsd_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/micro/go-platform/metrics/internal/statsd"
	"github.com/micro/go-platform/metrics/metricstest"
)

func TestClean(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"http.requests", "http.requests"},
		{"a:b|c,d=e@f#g", "a_b_c_d_e_f_g"},
		{"line\nfeed \t\r\x00\x7f", "line_feed_____"},
		{"größe", "größe"},
		{"\xff\xfe", "__"},
		{"x\u2028y\u202ez\u00a0", "x_y_z_"},
		{`a\b"c'd` + "`", "a_b_c_d_"},
		{"", "unnamed"},
		{strings.Repeat("é", 200), strings.Repeat("é", 100)},
		{"x" + strings.Repeat("é", 200), "x" + strings.Repeat("é", 99)},
	} {
		if got := statsd.Telegraf.CleanName(c.in); got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}

func TestPlainTagsHaveNoDots(t *testing.T) {
	if name, value := statsd.Plain.CleanTag("a.b", "10.0.0.1"); name != "a_b" || value != "10_0_0_1" {
		t.Errorf("got %q, %q", name, value)
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range metricstest.Hostile() {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		for _, d := range []statsd.Dialect{statsd.Telegraf, statsd.Plain, statsd.Dog} {
			check(t, d.CleanName(name), d.CleanName)
			n, v := d.CleanTag(name, value)
			check(t, n, func(s string) string { again, _ := d.CleanTag(s, ""); return again })
			check(t, v, func(s string) string { _, again := d.CleanTag("", s); return again })
		}
	})
}

// check reports whether s is fit for the wire, and left alone if cleaned again.
func check(t *testing.T, s string, clean func(string) string) {
	t.Helper()
	if len(s) > statsd.MaxName || !utf8.ValidString(s) || strings.ContainsAny(s, ":|,=@#\n\r \t\x00") {
		t.Errorf("not clean: %q", s)
	}
	if again := clean(s); again != s {
		t.Errorf("%q cleans to %q", s, again)
	}
}
