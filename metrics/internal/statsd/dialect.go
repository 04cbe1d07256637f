// Package statsd writes statsd lines in three dialects and sends them to
// collectors over UDP. It is what metrics' default plugin and metrics/statsd
// are made of.
package statsd

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Dialect is how tags and values are written.
type Dialect int

// The dialects.
const (
	Telegraf Dialect = iota // name,tag=value:1|c
	Plain                   // name.tag_value:1|c
	Dog                     // name:1|c|#tag:value
)

// String returns the plugin's name.
func (d Dialect) String() string {
	return [...]string{"telegraf", "statsd", "dogstatsd"}[d]
}

// Bounds, in bytes and pieces, beyond which names are cut and a set of tags
// goes to the overflow series. With them a line fits into a datagram.
const (
	MaxName = 200
	maxTag  = 64
	maxVal  = 128
	maxHead = 1000
)

// Tag is a name and a value.
type Tag struct{ Name, Value string }

// CleanName makes s fit for the part before the tags.
func (d Dialect) CleanName(s string) string {
	s = clean(s, MaxName, "")
	if d == Dog {
		s = strings.TrimLeft(s, "_") // "_e" and "_sc" begin events and checks
	}
	if s == "" {
		return "unnamed"
	}
	return s
}

// CleanTag makes a tag fit for the wire.
func (d Dialect) CleanTag(name, value string) (string, string) {
	also := ""
	if d == Plain {
		also = "."
	}
	name = clean(name, maxTag, also)
	if d == Telegraf && name == metricType {
		name += "_"
	}
	return name, clean(value, maxVal, also)
}

// metricType is a tag that Telegraf sets itself: it would overwrite a field of that
// name.
const metricType = "metric_type"

// Fits reports whether a name with these tags, all cleaned, leaves room for
// values in a datagram.
func (d Dialect) Fits(name string, tags int, bytes int) bool {
	return len(name)+bytes+2*tags <= maxHead
}

// clean cuts s to max bytes and replaces by '_' what has a meaning in some
// dialect or in what the collectors write: : | , = @ # \ and quotes, white
// space, control and format characters, invalid UTF-8, and those of also.
func clean(s string, max int, also string) string {
	if len(s) > max {
		end := max // back to where a rune begins
		for end > max-utf8.UTFMax && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end]
	}
	return strings.Map(func(r rune) rune {
		if bad(r) || strings.ContainsRune(also, r) {
			return '_'
		}
		return r
	}, s)
}

func bad(r rune) bool {
	if r < utf8.RuneSelf {
		return r <= ' ' || r == 0x7f || strings.IndexByte(`:|,=@#\"'`+"`", byte(r)) >= 0
	}
	return r == utf8.RuneError || !unicode.IsPrint(r)
}

// Head returns what stands before the value and Tail what stands after the
// type, for a cleaned name and tags.
func (d Dialect) Head(name string, tags []Tag) string {
	var b strings.Builder
	b.WriteString(name)
	for _, t := range tags {
		switch d {
		case Telegraf:
			b.WriteString("," + t.Name + "=" + t.Value)
		case Plain:
			b.WriteString("." + t.Name + "_" + t.Value)
		case Dog:
		}
	}
	return b.String()
}

// Tail returns what follows the value of a line; see Head.
func (d Dialect) Tail(tags []Tag) string {
	if d != Dog || len(tags) == 0 {
		return ""
	}
	var b strings.Builder
	for i, t := range tags {
		if i == 0 {
			b.WriteString("|#")
		} else {
			b.WriteByte(',')
		}
		b.WriteString(t.Name + ":" + t.Value)
	}
	return b.String()
}

// gauge returns the part of a gauge's line between ':' and the tail. A
// negative value would be a step down: outside of Dog, which knows no steps, it
// goes as a step down from 0 on the same line, which no other can part.
func (d Dialect) gauge(value int64) string {
	s := strconv.FormatInt(value, 10) + "|g"
	if value < 0 && d != Dog {
		return "0|g:" + s
	}
	return s
}

// sample returns the part of a histogram's line between ':' and the tail, for
// a sample that stands for weight, a power of two: 1/weight is exact, so that
// the receiver's 1/rate is. Microseconds become milliseconds, as the type ms says.
func (d Dialect) sample(value int64, micros bool, weight uint64) string {
	s := strconv.FormatInt(value, 10)
	if micros {
		s = strconv.FormatFloat(float64(value)/1000, 'f', -1, 64)
	}
	s += "|ms"
	if weight > 1 {
		s += "|@" + strconv.FormatFloat(1/float64(weight), 'f', -1, 64)
	}
	return s
}
