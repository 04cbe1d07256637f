package log

import (
	"slices"
	"strconv"
	"strings"

	"github.com/micro/go-platform/log/internal/escape"
)

// AppendJSON appends the event as one line of JSON, without the newline.
//
// Nothing in a message or a field can end the line, end its string, move a
// terminal's cursor or reorder what a person sees: quotes, backslashes, control
// characters (C0, DEL and C1, hence every ANSI sequence), line and paragraph
// separators and bidirectional controls are escaped, and bytes that are not UTF-8
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
	dst = escape.Append(dst, e.Message)
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
	dst = escape.Append(dst, key)
	dst = append(dst, `":"`...)
	dst = escape.Append(dst, value)
	return append(dst, '"')
}
