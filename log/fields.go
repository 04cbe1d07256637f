package log

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// redacted stands where the value of a redacted field stood.
const redacted = "[redacted]"

// droppedField counts the fields above MaxFields.
const droppedField = "fields_dropped"

// fieldSet is what a Logger holds: fields that will not change any more, and
// their JSON.
type fieldSet struct {
	fields Fields
	id     unsafe.Pointer
	json   []byte
}

// init makes the set of fields, with their JSON in room if there is enough.
func (s *fieldSet) init(fields Fields, room []byte) {
	s.fields, s.id, s.json = fields, identity(fields), appendFields(room, fields)
}

// redaction is the set of field names whose values are not logged.
type redaction []string

// hides reports whether a field is redacted: its whole name, or a part of a dotted
// one (slog's groups), is listed, in any letter case.
func (r redaction) hides(key string) bool {
	for _, name := range r {
		if within(key, name) {
			return true
		}
	}
	return false
}

// within reports whether name is key, or stands between dots of it.
func within(key, name string) bool {
	for at := 0; ; {
		rest := key[at:]
		if len(rest) >= len(name) && strings.EqualFold(rest[:len(name)], name) && (len(rest) == len(name) || rest[len(name)] == '.') {
			return true
		}
		dot := strings.IndexByte(rest, '.')
		if dot < 0 {
			return strings.EqualFold(rest, name) // of another length in bytes
		}
		if strings.EqualFold(rest[:dot], name) {
			return true
		}
		at += dot + 1
	}
}

// put sets one field within the bounds, and reports whether there was room.
func (r redaction) put(fields Fields, key, value string) bool {
	if r.hides(key) {
		value = redacted
	}
	key, value = cut(key, MaxKey), cut(value, MaxValue)
	if len(fields) >= MaxFields {
		if _, ok := fields[key]; !ok {
			return false
		}
	}
	fields[key] = value
	return true
}

// merge returns base with the fields of add set.
func (r redaction) merge(base, add Fields) Fields {
	merged := make(Fields, len(base)+len(add))
	maps.Copy(merged, base)
	if len(base)+len(add) <= MaxFields {
		for k, v := range add {
			r.put(merged, k, v)
		}
		return merged
	}
	left := 0
	for _, k := range slices.Sorted(maps.Keys(add)) {
		if !r.put(merged, k, add[k]) {
			left++
		}
	}
	noteLeft(merged, left)
	return merged
}

// noteLeft adds to the count of fields that found no room.
func noteLeft(fields Fields, left int) {
	if left == 0 {
		return
	}
	before, err := strconv.Atoi(fields[droppedField])
	if err != nil {
		before = 0 // none were left out so far
	}
	fields[droppedField] = strconv.Itoa(before + left)
}

// cut bounds s, on the border of a character.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	const mark = "…"
	end := limit - len(mark)
	for end > 0 && end > limit-len(mark)-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}
