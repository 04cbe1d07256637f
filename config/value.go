package config

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/micro/go-platform/config/internal/conftree"
)

// Bool implements Value.
func (n *node) Bool(def bool) bool {
	if n == nil {
		return def
	}
	if b, ok := truth(n.value); ok {
		return b
	}
	n.doubt("a bool")
	return def
}

// doubt notes that a getter answers with its default.
func (n *node) doubt(want string) {
	if n.value != nil {
		n.doubts.tell(n.path, want, n.value)
	}
}

// truth converts bools, and texts that YAML 1.1 or the environment write for a bool.
func truth(v any) (is, ok bool) {
	if b, ok := v.(bool); ok {
		return b, true
	}
	s, _ := text(v)
	switch strings.ToLower(s) {
	case "true", "t", "1", "yes", "y", "on":
		return true, true
	case "false", "f", "0", "no", "n", "off":
		return false, true
	}
	return false, false
}

// Int implements Value.
func (n *node) Int(def int) int {
	if n == nil {
		return def
	}
	if i, ok := integer(n.value); ok && int64(int(i)) == i {
		return int(i)
	}
	n.doubt("a whole number")
	return def
}

// digits returns the text that a number is parsed from.
func digits(v any) string {
	switch v := v.(type) {
	case conftree.Number:
		return v.JSON()
	case string:
		return v
	}
	return ""
}

// integer converts what is a whole number, in whatever form.
func integer(v any) (int64, bool) { return conftree.Int64(digits(v)) }

// String implements Value.
func (n *node) String(def string) string {
	if n == nil {
		return def
	}
	if s, ok := text(n.value); ok {
		return s
	}
	n.doubt("a text")
	return def
}

// text converts what is not an object or list, numbers as they were written.
func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case conftree.Number:
		return v.String(), true
	}
	return "", false
}

// Float64 implements Value.
func (n *node) Float64(def float64) float64 {
	if n == nil {
		return def
	}
	if f, ok := conftree.Float64(digits(n.value)); ok {
		return f
	}
	n.doubt("a number")
	return def
}

// Duration implements Value.
func (n *node) Duration(def time.Duration) time.Duration {
	if n == nil {
		return def
	}
	if d, ok := duration(n.value); ok {
		return d
	}
	n.doubt(aDuration)
	return def
}

const aDuration = "a duration such as 1m30s"

// duration refuses a number without a unit: programs differ in whether it is
// seconds, milliseconds or nanoseconds.
func duration(v any) (time.Duration, bool) {
	s, _ := text(v)
	d, err := time.ParseDuration(s)
	return d, err == nil
}

// StringSlice implements Value.
func (n *node) StringSlice(def []string) []string {
	if n == nil {
		return slices.Clone(def)
	}
	if all, ok := texts(n.value); ok {
		return all
	}
	n.doubt("a list of texts")
	return slices.Clone(def)
}

// texts converts a list, or splits a text at its commas.
func texts(v any) ([]string, bool) {
	list, ok := v.([]any)
	if !ok {
		s, ok := text(v)
		parts := strings.Split(s, ",")
		for i, p := range parts {
			parts[i] = strings.TrimSpace(p)
		}
		return parts, ok
	}
	all := make([]string, len(list))
	for i, x := range list {
		if all[i], ok = text(x); !ok {
			return nil, false
		}
	}
	return all, true
}

// StringMap implements Value.
func (n *node) StringMap(def map[string]string) map[string]string {
	if n == nil || n.kids == nil {
		if n != nil {
			n.doubt("an object")
		}
		return cloneMap(def)
	}
	object, _ := n.value.(conftree.Tree)
	all := make(map[string]string, len(object))
	for key, v := range object {
		s, ok := text(v)
		if !ok {
			s = string(conftree.Encode(v))
		}
		all[key] = s
	}
	return all
}

func cloneMap(m map[string]string) map[string]string {
	if m == nil {
		return nil
	}
	c := make(map[string]string, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// Bytes implements Value.
func (n *node) Bytes() []byte {
	if n == nil {
		return nil
	}
	if s, ok := n.value.(string); ok {
		return []byte(s)
	}
	return conftree.Encode(n.value)
}
