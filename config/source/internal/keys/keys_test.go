package keys_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/source/internal/keys"
)

func TestDocument(t *testing.T) {
	for name, c := range map[string]struct {
		found map[string]string
		want  string
		err   error
		skips string
	}{
		"tree":           {map[string]string{"r/db/host": "h", "r/db/port": "5432", "r/on": "true", "r/q": `"5"`, "r/o": `{"a":[1]}`}, `{"db":{"host":"h","port":5432},"o":{"a":[1]},"on":true,"q":"5"}`, nil, ""},
		"document":       {map[string]string{"r": `{"a":1}`}, `{"a":1}`, nil, ""},
		"both":           {map[string]string{"r": `{"a":1,"b":{"c":1}}`, "r/b/d": "2"}, `{"a":1,"b":{"c":1,"d":2}}`, nil, ""},
		"others":         {map[string]string{"r/a": "1", "root/b": "2", "x": "3"}, `{"a":1}`, nil, ""},
		"folders":        {map[string]string{"r/": "", "r/a/": "", "r/a/b": "1"}, `{"a":{"b":1}}`, nil, ""},
		"no text":        {map[string]string{"r/a": "\xff"}, `{"a":"` + "\uFFFD" + `"}`, nil, ""},
		"nothing":        {nil, "", config.ErrNotFound, ""},
		"only others":    {map[string]string{"root": "{}"}, "", config.ErrNotFound, ""},
		"conflict":       {map[string]string{"r/a": "1", "r/a/b": "2", "r/c": "3"}, `{"a":1,"c":3}`, nil, "r/a/b"},
		"up":             {map[string]string{"r/../a": "1", "r/c": "3"}, `{"c":3}`, nil, "r/../a"},
		"empty element":  {map[string]string{"r/a//b": "1"}, "{}", nil, "r/a//b"},
		"emptied":        {map[string]string{"r": " "}, "", nil, ""},
		"as written":     {map[string]string{"r/v": "1.10", "r/hash": "12345e6", "r/zip": "007"}, `{"hash":12345e6,"v":1.10,"zip":"007"}`, nil, ""},
		"bad document":   {map[string]string{"r": "no"}, "", config.ErrInvalid, ""},
		"control in key": {map[string]string{"r/a\nb": "1"}, "{}", nil, `r/a\nb`},
	} {
		found := map[string][]byte{}
		for k, v := range c.found {
			found[k] = []byte(v)
		}
		got, skipped, err := keys.Tree{Root: "r"}.Document(found)
		if !errors.Is(err, c.err) || string(got) != c.want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
		if text := strings.Join(skipped, ""); !strings.Contains(text, c.skips) || c.skips == "" && text != "" {
			t.Errorf("%s: skipped %q", name, skipped)
		}
	}
}
