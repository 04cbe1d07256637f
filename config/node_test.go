package config_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/source/memory"
)

// Objects of any size, with keys that look alike or not, give each key its own
// value and others none.
func TestGetOfManyKeys(t *testing.T) {
	for name, key := range map[string]func(int) string{
		"short":      func(i int) string { return fmt.Sprint(i) },
		"look alike": func(i int) string { return fmt.Sprintf("key-%06d-of-000-the-same", i) },
		"lengths":    func(i int) string { return fmt.Sprintf("%0*d", i%200+1, i) },
	} {
		for _, n := range []int{0, 1, 2, 3, 7, 8, 9, 100, 5000} {
			object := map[string]int{}
			for i := range n {
				object[key(i)] = i
			}
			data, err := json.Marshal(map[string]any{"o": object, "": 1})
			if err != nil {
				t.Fatal(err)
			}
			c := config.NewConfig(quiet(), config.WithSource(memory.NewSource(memory.Data(data))))
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			for i := range n {
				if got := c.Get("o", key(i)).Int(-1); got != object[key(i)] {
					t.Errorf("%s, %d keys: %q is %d", name, n, key(i), got)
				}
			}
			for _, none := range []string{key(n), "", "x"} {
				if got := c.Get("o", none).Int(-1); got != -1 {
					t.Errorf("%s, %d keys: %q, which is not there, is %d", name, n, none, got)
				}
			}
			if err := c.Stop(); err != nil {
				t.Error(err)
			}
		}
	}
}
