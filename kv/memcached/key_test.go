package memcached_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/micro/go-platform/kv"
	"github.com/micro/go-platform/kv/memcached"
)

// Whatever a key holds, memcached gets one that it takes for one, and another
// for each key and namespace.
func FuzzKey(f *testing.F) {
	f.Add("visitor7", "visitor8")
	f.Add("a b", "a\r\nflush_all")
	f.Add("", "\x00")
	f.Add("#", "ü")
	f.Add(strings.Repeat("k", 250), strings.Repeat("k", 1024))
	type maker interface{ Key(string) string }
	one := memcached.NewKV(kv.Namespace("one")).(maker)
	two := memcached.NewKV(kv.Namespace("two")).(maker)
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, key := range []string{one.Key(a), one.Key(b), two.Key(a)} {
			if len(key) == 0 || len(key) > 250 || bytes.ContainsFunc([]byte(key), func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
				t.Fatalf("%q, %q: memcached would get %q", a, b, key)
			}
		}
		if (a == b) != (one.Key(a) == one.Key(b)) || one.Key(a) == two.Key(a) || one.Key(a) == two.Key(b) {
			t.Fatalf("%q, %q: %q, %q, in another namespace %q", a, b, one.Key(a), one.Key(b), two.Key(a))
		}
	})
}
