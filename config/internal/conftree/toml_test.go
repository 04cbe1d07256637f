package conftree_test

import (
	"encoding/json"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/micro/go-platform/config/internal/conftree"
)

// TestTOML compares with the library's own decoder, which has no text of numbers.
func TestTOML(t *testing.T) {
	for _, data := range []string{
		"", "# nothing\n", "a = 1\nb = \"x\\u00e9\"\nc = 'raw\\n'\nd = [1, [2, 3], {x = true}]\n",
		"[a.b]\nc = 1\n[a]\nd = 2\n[a.b.e]\nf = 3\n", "a.b.c = 1\na.b.d = 2\n[x]\ny.z = 1.5\n",
		"[[p]]\nn = 1\n[[p]]\nn = 2\n[p.sub]\nm = 3\n[[p.list]]\nk = 1\n[[p.list]]\nk = 2\n[[p]]\n[[p.list]]\nk = 3\n",
		"t = {a.b = 1, c = {d = [{e = 2}]}}\n\"quoted key\" = 1\n'x.y' = false\n", "m = \"\"\"\nmany\nlines\"\"\"\n",
	} {
		want := map[string]any{}
		if err := toml.Unmarshal([]byte(data), &want); err != nil {
			t.Fatal(err)
		}
		got, err := conftree.Decode("toml", []byte(data))
		if err != nil {
			t.Errorf("%s: %v", data, err)
			continue
		}
		expected, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if text := string(conftree.Encode(got)); text != string(expected) {
			t.Errorf("%s: got %s, want %s", data, text, expected)
		}
	}
	for _, bad := range []string{"a = 1\na = 2\n", "[a]\n[a]\n", "a = 1\n[a]\n", "a = inf\n", "a = 99999999999999999999\n", "a = [1\n"} {
		if got, err := conftree.Decode("toml", []byte(bad)); err == nil {
			t.Errorf("%s: %v", bad, got)
		}
	}
	got, err := conftree.Decode("toml", []byte("version = 1.10\nmask = 0x1F\nsize = 1_000\nday = 2026-01-02\n"))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"version": "1.10", "mask": "0x1F", "size": "1_000"} {
		if n, ok := got[key].(conftree.Number); !ok || n.String() != want {
			t.Errorf("%s: %v, want %s", key, got[key], want)
		}
	}
	if got["day"] != "2026-01-02" {
		t.Errorf("day: %v", got["day"])
	}
}

// FuzzTOML: what the library's decoder takes is read, or refused for its bounds.
func FuzzTOML(f *testing.F) {
	f.Add("a.b = 1\n[[c]]\nd = {e = [1.10]}\n")
	f.Fuzz(func(t *testing.T, data string) {
		got, err := conftree.Decode("toml", []byte(data))
		if err == nil && got == nil {
			t.Error("neither a document nor an error")
		}
	})
}
