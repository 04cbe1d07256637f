package log

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// AppendJSON appends the event as one line of JSON, without the newline.
//
// Nothing in a message or a field can end the line, end its string, move a
// terminal's cursor or reorder what a person sees: quotes, backslashes, control
// characters (C0, DEL and C1, hence every ANSI sequence), line and paragraph
// separators and bidirectional controls are escaped, and bytes that are no UTF-8
// become U+FFFD. An unknown level is written as Level says of unknown levels.
func (e *Event) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"level":"`...)
	dst = append(dst, e.Level.known().String()...)
	if len(e.Fields) > 0 {
		dst = append(dst, `","fields":{`...)
		dst = e.AppendFields(dst)
		dst = append(dst, `},"timestamp":`...)
	} else {
		dst = append(dst, `","timestamp":`...)
	}
	dst = strconv.AppendInt(dst, e.Timestamp, 10)
	dst = append(dst, `,"message":"`...)
	dst = appendEscaped(dst, e.Message)
	return append(dst, `"}`...)
}

// AppendFields appends the members of the fields' JSON object, without its
// braces, for outputs that put them into an object of their own.
func (e *Event) AppendFields(dst []byte) []byte {
	if e.held == nil || e.known != identity(e.Fields) {
		return appendFields(dst, e.Fields)
	}
	dst = append(dst, e.held.json...)
	for i, f := range e.extra {
		if i > 0 || len(e.held.json) > 0 {
			dst = append(dst, ',')
		}
		dst = appendField(dst, f.Key, f.Value)
	}
	return dst
}

// appendFields writes fields in order of name, so that equal events are equal
// lines.
func appendFields(dst []byte, fields Fields) []byte {
	var few [8]Field
	list := few[:0]
	for k, v := range fields {
		list = append(list, Field{k, v})
	}
	slices.SortFunc(list, func(a, b Field) int { return strings.Compare(a.Key, b.Key) })
	for i, f := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendField(dst, f.Key, f.Value)
	}
	return dst
}

func appendField(dst []byte, key, value string) []byte {
	dst = append(dst, '"')
	dst = appendEscaped(dst, key)
	dst = append(dst, `":"`...)
	dst = appendEscaped(dst, value)
	return append(dst, '"')
}

// AppendQuoted appends s as a JSON string with the escapes of AppendJSON.
func AppendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	dst = appendEscaped(dst, s)
	return append(dst, '"')
}

const hexDigits = "0123456789abcdef"

// appendEscaped appends the inside of a JSON string. What needs no escape, which
// is nearly everything, is copied in runs.
func appendEscaped(dst []byte, s string) []byte {
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
