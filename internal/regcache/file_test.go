package regcache_test

import (
	"testing"

	"github.com/micro/go-platform/internal/regcache"
)

// Whatever is in the file is refused or can be held.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		"", "[]", "null", `[{"name":"shop","version":"v1","nodes":[{"id":"a"}]}]`, `[{"name":"x","nodes":[null]}]`,
		`[{"name":"x","endpoints":[null],"nodes":[{"id":"a","metadata":{"status":"DRAINING"}}]}]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(_ *testing.T, text []byte) {
		_ = regcache.Hold(text) // a panic is what would be wrong
	})
}
