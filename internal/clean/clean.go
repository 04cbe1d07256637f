// Package clean makes text from elsewhere fit to be kept and shown: without
// control characters, valid and of bounded size. Use it for what people read
// (descriptions, errors, results), Name to refuse what programs compare, and URLs
// for errors that may repeat an address with its password.
package clean

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The bounds of a Map.
const (
	MaxPairs = 64
	MaxBytes = 8 << 10
)

// Name reports whether s can identify something: 1 to limit bytes of printable
// UTF-8.
func Name(s string, limit int) bool {
	if s == "" || len(s) > limit || !utf8.ValidString(s) {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// Text returns s cut to limit bytes, with each character that is not printable
// and each broken one replaced by a space.
func Text(s string, limit int) string {
	if len(s) > limit {
		s = cut(s, limit)
	}
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	return cut(s, limit)
}

// UTF8 returns s with each broken character replaced by U+FFFD: what protobuf
// takes as a string.
func UTF8(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Error returns the Text of err.Error(), "" for nil. When Error panics, as that
// of a nil pointer may, the text says so.
func Error(err error, limit int) (text string) {
	if err == nil {
		return ""
	}
	defer func() {
		if p := recover(); p != nil {
			text = Text(fmt.Sprintf("an error of type %T, whose Error panics", err), limit)
		}
	}()
	return Text(err.Error(), limit)
}

// Value is Error for the value of a panic.
func Value(v any, limit int) (text string) {
	defer func() {
		if p := recover(); p != nil {
			text = Text(fmt.Sprintf("a value of type %T", v), limit)
		}
	}()
	return Text(fmt.Sprint(v), limit)
}

// cut ends s before the character that would pass the limit.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// Map returns a copy of m with cleaned keys and values, nil when it is empty.
// Of a map that is too large the pairs whose keys come first are kept.
func Map(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	kept := make(map[string]string, min(len(m), MaxPairs))
	left := MaxBytes
	for _, k := range slices.Sorted(maps.Keys(m)) {
		key, value := Text(k, 256), Text(m[k], MaxBytes)
		if left -= len(key) + len(value); left < 0 || len(kept) == MaxPairs {
			break
		}
		kept[key] = value
	}
	return kept
}
