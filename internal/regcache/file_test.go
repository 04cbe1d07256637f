package regcache

import "testing"

// Whatever is in the file, what parse lets through can be held.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "[]", "null", `[{"name":"shop","version":"v1","nodes":[{"id":"a"}]}]`, `[{"name":"x","nodes":[null]}]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		services, err := parse(text)
		if err != nil {
			return
		}
		c := New(nil)
		for _, s := range services {
			c.answer(s.Name, c.record(s.Name), clone(services), 0)
		}
	})
}
