package keys_test

import (
	"errors"
	"testing"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/source/internal/keys"
)

func TestDocument(t *testing.T) {
	for name, c := range map[string]struct {
		found map[string]string
		want  string
		err   error
	}{
		"tree":           {map[string]string{"r/db/host": "h", "r/db/port": "5432", "r/on": "true", "r/q": `"5"`, "r/o": `{"a":[1]}`}, `{"db":{"host":"h","port":5432},"o":{"a":[1]},"on":true,"q":"5"}`, nil},
		"document":       {map[string]string{"r": `{"a":1}`}, `{"a":1}`, nil},
		"both":           {map[string]string{"r": `{"a":1,"b":{"c":1}}`, "r/b/d": "2"}, `{"a":1,"b":{"c":1,"d":2}}`, nil},
		"others":         {map[string]string{"r/a": "1", "root/b": "2", "x": "3"}, `{"a":1}`, nil},
		"folders":        {map[string]string{"r/": "", "r/a/": "", "r/a/b": "1"}, `{"a":{"b":1}}`, nil},
		"no text":        {map[string]string{"r/a": "\xff"}, `{"a":"` + "\uFFFD" + `"}`, nil},
		"nothing":        {nil, "", config.ErrNotFound},
		"only others":    {map[string]string{"root": "{}"}, "", config.ErrNotFound},
		"conflict":       {map[string]string{"r/a": "1", "r/a/b": "2"}, "", config.ErrInvalid},
		"up":             {map[string]string{"r/../a": "1"}, "", config.ErrInvalid},
		"empty element":  {map[string]string{"r/a//b": "1"}, "", config.ErrInvalid},
		"bad document":   {map[string]string{"r": "no"}, "", config.ErrInvalid},
		"control in key": {map[string]string{"r/a\nb": "1"}, "", config.ErrInvalid},
	} {
		found := map[string][]byte{}
		for k, v := range c.found {
			found[k] = []byte(v)
		}
		got, err := keys.Tree{Root: "r"}.Document(found)
		if !errors.Is(err, c.err) || string(got) != c.want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}
