package trace

import (
	"strings"
	"unsafe"

	"github.com/micro/go-platform/internal/header"
)

// Format is a way of writing ids into headers.
type Format uint8

// The formats. All of them are read.
const (
	W3C      Format = 1 << iota // traceparent and, if the trace has one, tracestate
	B3                          // Zipkin's single header b3
	B3Multi                     // Zipkin's X-B3-TraceId, X-B3-SpanId, ...
	XMicro                      // X-Micro-Trace-Id, ... of the original go-platform
	lastForm                    // one past the last
)

const allFormats = lastForm - 1

const (
	hTraceparent = iota
	hTracestate
	hB3
	hB3TraceID
	hB3SpanID
	hB3ParentID
	hB3Sampled
	hB3Flags
	hTrace
	hSpan
	hParent
	hDebug
	headers
)

// names are the spellings that are written.
//
//nolint:gochecknoglobals // never changed
var names = [headers]string{
	"traceparent", "tracestate", "b3",
	"X-B3-TraceId", "X-B3-SpanId", "X-B3-ParentSpanId", "X-B3-Sampled", "X-B3-Flags",
	"X-Micro-Trace-Id", "X-Micro-Span-Id", "X-Micro-Parent-Id", "X-Micro-Trace-Debug",
}

// extract returns the caller's span. The first valid format wins, in the order
// of the constants; an invalid one counts as absent.
func extract(md map[string]string, trustDebug bool) (*Span, bool) {
	var v [headers]string
	if !header.Pick(md, names[:], v[:]) {
		return nil, false
	}
	s := &Span{remote: true}
	switch {
	case s.parseTraceparent(v[hTraceparent]):
		s.state = tracestate(v[hTracestate])
	case s.parseB3(v[hB3]):
	case s.parseB3Multi(&v):
	case s.parseXMicro(&v):
	default:
		return nil, false
	}
	s.Debug = s.Debug || truth(v[hDebug])
	if s.Debug && !trustDebug {
		s.Debug = false
	}
	return s, true
}

// parseTraceparent follows the W3C Trace Context, level 1, section 3.2: a
// version we do not know may have more parts.
func (s *Span) parseTraceparent(v string) bool {
	if len(v) < traceparentLen || len(v) > 256 || v[2] != '-' || v[traceEnd] != '-' || v[spanEnd] != '-' {
		return false
	}
	version, flags := v[:2], v[spanEnd+1:traceparentLen]
	if !lowerHex(version) || version == "ff" || !lowerHex(flags) ||
		version == "00" && len(v) > traceparentLen ||
		len(v) > traceparentLen && v[traceparentLen] != '-' {
		return false
	}
	traceID, id := v[traceAt:traceEnd], v[spanAt:spanEnd]
	if !lowerHex(traceID) || !lowerHex(id) || traceID == noTrace || id == noTrace[:16] {
		return false
	}
	s.TraceId, s.Id, s.decision = traceID, id, unsampled
	if unhex(flags[1])&1 == 1 {
		s.decision = sampled
	}
	return true
}

const noTrace = "00000000000000000000000000000000"

// parseB3 follows openzipkin/b3-propagation: "{trace}-{span}[-{state}[-{parent}]]",
// or the state alone.
func (s *Span) parseB3(v string) bool {
	if len(v) > 128 {
		return false
	}
	trace, rest, ids := strings.Cut(v, "-")
	if !ids {
		return len(v) == 1 && s.setB3State(v)
	}
	span, rest, more := strings.Cut(rest, "-")
	if !s.setIDs(trace, span) {
		return false
	}
	if !more {
		return true
	}
	state, parent, _ := strings.Cut(rest, "-")
	if !s.setB3State(state) {
		return false
	}
	s.ParentId, _ = NormalSpanID(parent)
	return true
}

func (s *Span) setB3State(v string) bool {
	switch v {
	case "1", "true":
		s.decision = sampled
	case "0", "false":
		s.decision = unsampled
	case "d":
		s.Debug = true
	default:
		return false
	}
	return true
}

func (s *Span) parseB3Multi(v *[headers]string) bool {
	if v[hB3Flags] == "1" {
		s.Debug = true
	} else {
		s.setB3State(v[hB3Sampled])
	}
	if v[hB3TraceID] == "" && v[hB3SpanID] == "" {
		return s.Debug || s.decision != undecided
	}
	if !s.setIDs(v[hB3TraceID], v[hB3SpanID]) {
		s.Debug, s.decision = false, undecided
		return false
	}
	s.ParentId, _ = NormalSpanID(v[hB3ParentID])
	return true
}

func (s *Span) parseXMicro(v *[headers]string) bool {
	if !s.setIDs(v[hTrace], v[hSpan]) {
		return false
	}
	s.ParentId, _ = NormalSpanID(v[hParent])
	return true
}

// setIDs changes nothing when one of them is not valid.
func (s *Span) setIDs(traceID, spanID string) bool {
	t, ok := NormalTraceID(traceID)
	if !ok {
		return false
	}
	i, ok := NormalSpanID(spanID)
	if !ok {
		return false
	}
	s.TraceId, s.Id = t, i
	return true
}

func truth(v string) bool { return v == "1" || v == "true" || v == "True" || v == "TRUE" }

// The bounds of W3C Trace Context, section 3.3.
const (
	maxTracestate = 512
	maxMembers    = 32
)

// tracestate returns v, or nothing if it is not what others may be given.
func tracestate(v string) string {
	if len(v) > maxTracestate || strings.Count(v, ",") >= maxMembers {
		return ""
	}
	for i := range len(v) {
		if v[i] < ' ' || v[i] > '~' {
			return ""
		}
	}
	for member := range strings.SplitSeq(v, ",") {
		if member = strings.TrimSpace(member); member != "" && strings.IndexByte(member, '=') < 1 {
			return ""
		}
	}
	return v
}

// inject writes s in the formats into md and removes what md says of other
// spans: a stale header in another format would give the trace two parents. It
// writes nothing of a span without valid ids.
func inject(md map[string]string, s *Span, formats Format) map[string]string {
	if s == nil {
		return md
	}
	if md == nil {
		md = make(map[string]string, 1)
	} else {
		header.DeleteAll(md, names[:])
	}
	h, ok := s.traceparent()
	if !ok {
		return md
	}
	if formats&W3C != 0 {
		md[names[hTraceparent]] = h
		if s.state != "" {
			md[names[hTracestate]] = s.state
		}
	}
	if formats&^W3C != 0 {
		s.injectOthers(md, formats, h[traceAt:traceEnd], h[spanAt:spanEnd])
	}
	if s.Debug && formats&(W3C|XMicro) != 0 {
		md[names[hDebug]] = "1"
	}
	return md
}

// traceparent returns the header made along with the ids, unless they were
// changed since.
func (s *Span) traceparent() (string, bool) {
	h := unsafe.String(&s.ids[0], len(s.ids))
	if s.made && h[traceAt:traceEnd] == s.TraceId && h[spanAt:spanEnd] == s.Id && s.Sampled() == (h[flagAt] == '1') {
		return h, true
	}
	traceID, ok := NormalTraceID(s.TraceId)
	if !ok {
		return "", false
	}
	id, ok := NormalSpanID(s.Id)
	return "00-" + traceID + "-" + id + "-0" + s.flag(), ok
}

func (s *Span) flag() string {
	if s.Sampled() {
		return "1"
	}
	return "0"
}

func (s *Span) injectOthers(md map[string]string, formats Format, traceID, id string) {
	parent, hasParent := NormalSpanID(s.ParentId)
	if formats&B3 != 0 {
		md[names[hB3]] = s.b3(traceID, id, parent)
	}
	if formats&B3Multi != 0 {
		md[names[hB3TraceID]], md[names[hB3SpanID]] = traceID, id
		if hasParent {
			md[names[hB3ParentID]] = parent
		}
		if s.Debug {
			md[names[hB3Flags]] = "1"
		} else {
			md[names[hB3Sampled]] = s.flag()
		}
	}
	if formats&XMicro != 0 {
		md[names[hTrace]], md[names[hSpan]] = traceID, id
		if hasParent {
			md[names[hParent]] = parent
		}
	}
}

func (s *Span) b3(traceID, id, parent string) string {
	state := s.flag()
	if s.Debug {
		state = "d"
	}
	if parent != "" {
		parent = "-" + parent
	}
	return traceID + "-" + id + "-" + state + parent
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c - 'a' + 10
}
