package config

import (
	"math"
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
	switch v := n.value.(type) {
	case bool:
		return v
	case string:
		if b, err := strconv.ParseBool(v); err == nil {
			return b
		}
	}
	return def
}

// Int implements Value.
func (n *node) Int(def int) int {
	if n == nil {
		return def
	}
	if i, ok := integer(n.value); ok && i >= math.MinInt && i <= math.MaxInt {
		return int(i)
	}
	return def
}

// integer converts what is a whole number, in whatever form.
func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case float64:
		// 2^63 is a float64, the largest int64 is not.
		return int64(v), v == math.Trunc(v) && v >= math.MinInt64 && v < -math.MinInt64
	case string:
		i, err := strconv.ParseInt(v, 10, 64)
		return i, err == nil
	}
	return 0, false
}

// String implements Value.
func (n *node) String(def string) string {
	if n == nil {
		return def
	}
	if s, ok := text(n.value); ok {
		return s
	}
	return def
}

// text converts what is no object or list.
func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case uint64:
		return strconv.FormatUint(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true
	}
	return "", false
}

// Float64 implements Value.
func (n *node) Float64(def float64) float64 {
	if n == nil {
		return def
	}
	switch v := n.value.(type) {
	case float64:
		return v
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	case string:
		if f, err := strconv.ParseFloat(v, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
	}
	return def
}

// Duration implements Value.
func (n *node) Duration(def time.Duration) time.Duration {
	if n == nil {
		return def
	}
	if s, ok := n.value.(string); ok {
		if d, err := time.ParseDuration(s); err == nil {
			return d
		}
	}
	if i, ok := integer(n.value); ok {
		return time.Duration(i)
	}
	return def
}

// StringSlice implements Value.
func (n *node) StringSlice(def []string) []string {
	if n == nil {
		return slices.Clone(def)
	}
	switch v := n.value.(type) {
	case string:
		parts := strings.Split(v, ",")
		for i, p := range parts {
			parts[i] = strings.TrimSpace(p)
		}
		return parts
	case []any:
		all := make([]string, len(v))
		for i, x := range v {
			s, ok := text(x)
			if !ok {
				return slices.Clone(def)
			}
			all[i] = s
		}
		return all
	}
	return slices.Clone(def)
}

// StringMap implements Value.
func (n *node) StringMap(def map[string]string) map[string]string {
	if n == nil || n.kids == nil {
		return cloneMap(def)
	}
	object, _ := n.value.(conftree.Tree)
	all := make(map[string]string, len(object))
	for key := range object {
		all[key] = string(n.kid(key).Bytes())
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
