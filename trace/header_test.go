package trace_test

import (
	"strings"
	"testing"

	"github.com/micro/go-platform/trace"
)

const (
	traceID  = "0af7651916cd43dd8448eb211c80319c"
	spanID   = "b7ad6b7169203331"
	parentID = "00f067aa0ba902b7"
)

func TestFormatsAreRead(t *testing.T) {
	tr := newSink(trace.SampleRatio(0)) // so that the caller's decision shows
	for _, c := range []struct {
		name    string
		md      map[string]string
		sampled bool
	}{
		{"w3c", map[string]string{"traceparent": "00-" + traceID + "-" + spanID + "-01"}, true},
		{"w3c out", map[string]string{"Traceparent": "00-" + traceID + "-" + spanID + "-00"}, false},
		{"w3c other flags", map[string]string{"traceparent": "00-" + traceID + "-" + spanID + "-03"}, true},
		{"w3c later version", map[string]string{"traceparent": "cc-" + traceID + "-" + spanID + "-01-what-the-future"}, true},
		{"b3", map[string]string{"b3": traceID + "-" + spanID + "-1-" + parentID}, true},
		{"b3 out", map[string]string{"B3": traceID + "-" + spanID + "-0"}, false},
		{"b3 undecided", map[string]string{"b3": traceID + "-" + spanID}, false},
		{"b3 upper", map[string]string{"b3": strings.ToUpper(traceID + "-" + spanID + "-1")}, true},
		{"b3 multi", map[string]string{"X-B3-Traceid": traceID, "x-b3-spanid": spanID, "X-B3-Sampled": "1"}, true},
		{"b3 multi true", map[string]string{"X-B3-TraceId": traceID, "X-B3-SpanId": spanID, "X-B3-Sampled": "true"}, true},
		{"x-micro", map[string]string{"x-micro-trace-id": traceID, "X-Micro-Span-Id": spanID, "X-Micro-Parent-Id": "0"}, false},
		{"x-micro uuid", map[string]string{
			"X-Micro-Trace-Id": "0af76519-16cd-43dd-8448-eb211c80319c", "X-Micro-Span-Id": "b7ad6b71-6920-3331-8448-eb211c80319c"}, false},
		{"w3c wins", map[string]string{"traceparent": "00-" + traceID + "-" + spanID + "-01", "b3": parentID + "-" + parentID + "-0"}, true},
		{"b3 when w3c is bad", map[string]string{"traceparent": "garbage", "b3": traceID + "-" + spanID + "-1"}, true},
	} {
		got, ok := tr.FromHeader(c.md)
		if !ok || got.TraceId != traceID || got.Id != spanID {
			t.Errorf("%s: %v %+v", c.name, ok, got)
			continue
		}
		if s := tr.NewSpan(got); s.Sampled() != c.sampled || s.ParentId != spanID {
			t.Errorf("%s: sampled %v, parent %q", c.name, s.Sampled(), s.ParentId)
		}
	}
}

func TestShortTraceIDs(t *testing.T) {
	s, ok := newSink().FromHeader(map[string]string{"b3": spanID + "-" + parentID + "-1"})
	if !ok || s.TraceId != "0000000000000000"+spanID {
		t.Fatalf("%v %+v", ok, s)
	}
}

func TestB3DecisionWithoutIDs(t *testing.T) {
	s, ok := newSink().FromHeader(map[string]string{"b3": "0"})
	if !ok || newSink().NewSpan(s).Sampled() {
		t.Fatalf("%v %+v: b3: 0 was not followed", ok, s)
	}
	if root := newSink(trace.SampleParent(false)).NewSpan(s); !root.Sampled() {
		t.Error("a caller who is not followed decided")
	}
}

func TestTracestate(t *testing.T) {
	parent := "00-" + traceID + "-" + spanID + "-01"
	for state, want := range map[string]string{
		"":                              "",
		"vendor=x,other=y":              "vendor=x,other=y",
		"vendor=x, ,other=y":            "vendor=x, ,other=y",
		"vendor":                        "",
		"=x":                            "",
		"vendor=x\r\nevil: y":           "",
		"vendor=ä":                      "",
		strings.Repeat("a=b,", 40):      "",
		"a=" + strings.Repeat("b", 600): "",
	} {
		tr := newSink()
		caller, _ := tr.FromHeader(map[string]string{"traceparent": parent, "Tracestate": state})
		md := tr.NewHeader(map[string]string{"tracestate": "stale"}, tr.NewSpan(tr.NewSpan(caller)))
		if md["tracestate"] != want {
			t.Errorf("%.40q was passed on as %q", state, md["tracestate"])
		}
	}
}

func TestFormatsAreWritten(t *testing.T) {
	for _, c := range []struct {
		name string
		opts []trace.Option
		want []string
	}{
		{"default", nil, []string{"traceparent", trace.TraceHeader, trace.SpanHeader, trace.ParentHeader}},
		{"w3c", []trace.Option{trace.Legacy()}, []string{"traceparent"}},
		{"b3", []trace.Option{trace.Headers(trace.B3), trace.Legacy()}, []string{"b3"}},
		{"b3 multi", []trace.Option{trace.Headers(trace.B3Multi), trace.Legacy()}, []string{"X-B3-TraceId", "X-B3-SpanId", "X-B3-ParentSpanId", "X-B3-Sampled"}},
		{"two", []trace.Option{trace.Headers(trace.W3C, trace.B3), trace.Legacy()}, []string{"traceparent", "b3"}},
	} {
		tr := newSink(c.opts...)
		span := tr.NewSpan(tr.NewSpan(nil))
		md := tr.NewHeader(nil, span)
		for _, k := range c.want {
			if md[k] == "" {
				t.Errorf("%s: no %s in %v", c.name, k, md)
			}
		}
		if len(md) != len(c.want) {
			t.Errorf("%s: wrote %v", c.name, md)
		}
		if got, ok := tr.FromHeader(md); !ok || got.Id != span.Id || got.ParentId != "" && got.ParentId != span.ParentId {
			t.Errorf("%s: read back %v %+v", c.name, ok, got)
		}
	}
}

func TestDebugTravels(t *testing.T) {
	for _, f := range []trace.Format{trace.W3C, trace.B3, trace.B3Multi, trace.XMicro} {
		tr := newSink(trace.Headers(f), trace.Legacy(), trace.SampleRatio(0), trace.TrustDebug(true))
		span := tr.NewSpan(&trace.Span{Debug: true})
		got, ok := tr.FromHeader(tr.NewHeader(nil, span))
		if !span.Sampled() || !ok || !got.Debug || got.Id != span.Id {
			t.Errorf("format %d: %v %+v", f, ok, got)
		}
	}
}

func TestChangedIDs(t *testing.T) {
	tr := newSink(trace.Legacy())
	span := tr.NewSpan(nil)
	span.TraceId, span.Id = "0AF76519-16cd-43dd-8448-eb211c80319c", spanID
	if got := tr.NewHeader(nil, span)["traceparent"]; got != "00-"+traceID+"-"+spanID+"-01" {
		t.Errorf("wrote %q", got)
	}
	if child := tr.NewSpan(&trace.Span{TraceId: "nonsense", Id: "x"}); child.ParentId != "" || len(child.TraceId) != 32 {
		t.Errorf("child of nonsense: %+v", child)
	}
}

func FuzzFromHeader(f *testing.F) {
	f.Add("traceparent", "00-"+traceID+"-"+spanID+"-01", "tracestate", "a=b")
	f.Add("b3", traceID+"-"+spanID+"-d-"+parentID, "X-B3-Flags", "1")
	f.Add("X-B3-TraceId", traceID, "x-b3-spanid", spanID)
	f.Add("X-Micro-Trace-Id", "0af76519-16cd-43dd-8448-eb211c80319c", "X-Micro-Span-Id", spanID)
	f.Add("b3", "0", "", "")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		tr := newSink(trace.Headers(trace.W3C, trace.B3, trace.B3Multi, trace.XMicro))
		s, ok := tr.FromHeader(map[string]string{k1: v1, k2: v2})
		if !ok {
			return
		}
		if s.TraceId != "" && (!isHex(s.TraceId, 32) || !isHex(s.Id, 16)) {
			t.Fatalf("read ids %q %q", s.TraceId, s.Id)
		}
		child := tr.NewSpan(s)
		for k, v := range tr.NewHeader(nil, child) {
			if len(v) > 512 || strings.ContainsAny(v, "\r\n\x00") {
				t.Fatalf("wrote %s: %q", k, v)
			}
		}
		if got, ok := tr.FromHeader(tr.NewHeader(nil, child)); !ok || got.Id != child.Id || got.TraceId != child.TraceId {
			t.Fatalf("wrote what is not read: %+v", child)
		}
	})
}

func isHex(s string, size int) bool {
	return len(s) == size && strings.Trim(s, "0123456789abcdef") == ""
}

// Implementations that print ids as numbers leave out leading zeros.
func TestIDsWithoutLeadingZeros(t *testing.T) {
	zeros := func(n int, id string) string { return strings.Repeat("0", n-len(id)) + id }
	for _, md := range []map[string]string{
		{"b3": "abc-def-1-9"},
		{"X-B3-TraceId": "abc", "X-B3-SpanId": "def", "X-B3-ParentSpanId": "9"},
		{"X-Micro-Trace-Id": "ABC", "X-Micro-Span-Id": "DEF", "X-Micro-Parent-Id": "9"},
	} {
		s, ok := newSink().FromHeader(md)
		if !ok || s.TraceId != zeros(32, "abc") || s.Id != zeros(16, "def") || s.ParentId != zeros(16, "9") {
			t.Errorf("%v: %v %+v", md, ok, s)
		}
	}
	for _, id := range []string{"", "0", "000", strings.Repeat("a", 33), "a b", "-1"} {
		if got, ok := trace.NormalTraceID(id); ok {
			t.Errorf("%q is the trace id %q", id, got)
		}
	}
}

func TestDebugIsWrittenAsTheOriginalDid(t *testing.T) {
	tr := newSink()
	if got := tr.NewHeader(nil, tr.NewSpan(&trace.Span{Debug: true}))[trace.DebugHeader]; got != "1" {
		t.Errorf("wrote %q", got)
	}
}
