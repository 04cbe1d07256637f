package prometheus

import (
	"strings"

	"github.com/micro/go-platform/metrics"
)

// Bounds in bytes, those of the default plugin.
const (
	maxName  = 200
	maxLabel = 64
	maxValue = 128
)

func clean(id string, tags []metrics.Tag) (string, []metrics.Tag, bool) {
	for i, t := range tags {
		tags[i] = metrics.Tag{Name: label(t.Name), Value: value(t.Value)}
	}
	if id = name(cut(id, maxName)); id == "" {
		id = "unnamed"
	}
	return id, tags, true
}

// name keeps letters, digits and '_'.
func name(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, s)
}

func label(s string) string {
	s = name(cut(s, maxLabel))
	if strings.HasPrefix(s, "__") { // reserved by Prometheus
		s = "_" + strings.TrimLeft(s, "_")
	}
	switch {
	case s == "le" || s == "quantile":
		return s + "_"
	case s[0] >= '0' && s[0] <= '9':
		return "_" + s
	}
	return s
}

func value(s string) string {
	return strings.ToValidUTF8(cut(s, maxValue), "_")
}

func cut(s string, max int) string { return s[:min(len(s), max)] }
