// Package escape writes the strings of log events, for package log and its
// outputs.
package escape

import "unicode/utf8"

const hexDigits = "0123456789abcdef"

// Append appends s as the inside of a JSON string, with the escapes that
// log.Event.AppendJSON promises. What needs no escape, which is nearly
// everything, is copied in runs.
func Append(dst []byte, s string) []byte {
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain(c) {
			i++
			continue
		}
		size, escape := 1, true
		r := rune(c)
		if c >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(s[i:])
			escape = unsafeRune(r) || r == utf8.RuneError && size == 1
		}
		if escape {
			dst = append(dst, s[done:i]...)
			dst = appendEscape(dst, r)
			done = i + size
		}
		i += size
	}
	return append(dst, s[done:]...)
}

func plain(c byte) bool { return c >= ' ' && c < 0x7f && c != '"' && c != '\\' }

// unsafeRune tells the characters outside of ASCII that may break a line, steer
// a terminal (C1) or reorder text (Unicode TR 36, section 2.3).
func unsafeRune(r rune) bool {
	switch {
	case r < 0xa0:
		return true
	case r == 0x2028 || r == 0x2029:
		return true
	case r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
		return true
	}
	return false
}

func appendEscape(dst []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}
