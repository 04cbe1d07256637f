package tracetest

import (
	"context"
	"strings"
	"testing"

	"github.com/micro/go-platform/trace"
)

func hex(s string, size int) bool {
	return len(s) == size && strings.Trim(s, "0123456789abcdef") == "" && strings.Trim(s, "0") != ""
}

func spans(t *testing.T, s Subject) {
	tr := s.New(t)
	root := tr.NewSpan(nil)
	if !hex(root.TraceId, 32) || !hex(root.Id, 16) || root.ParentId != "" || !root.Sampled() || root.Timestamp.IsZero() {
		t.Errorf("root: %q %q parent %q, sampled %v, begun %v", root.TraceId, root.Id, root.ParentId, root.Sampled(), root.Timestamp)
	}
	child := tr.NewSpan(root)
	if child.TraceId != root.TraceId || child.ParentId != root.Id || child.Id == root.Id || !hex(child.Id, 16) {
		t.Errorf("child %q/%q of %q/%q has parent %q", child.TraceId, child.Id, root.TraceId, root.Id, child.ParentId)
	}
	if other := tr.NewSpan(nil); other.TraceId == root.TraceId || other.Id == root.Id {
		t.Error("two roots share an id")
	}
	if tr.String() == "" {
		t.Error("the plugin has no name")
	}
}

func contexts(t *testing.T, s Subject) {
	tr := s.New(t)
	if span, ok := tr.FromContext(context.Background()); ok {
		t.Errorf("an empty context has the span %v", span.Id)
	}
	span := tr.NewSpan(nil)
	if got, ok := tr.FromContext(tr.NewContext(context.Background(), span)); !ok || got != span {
		t.Error("the span did not come back from its context")
	}
}

func headers(t *testing.T, s Subject) {
	tr := s.New(t)
	parent := tr.NewSpan(tr.NewSpan(nil))
	md := tr.NewHeader(nil, parent)
	for name, change := range map[string]func(string) string{
		"as written": func(k string) string { return k },
		"lower":      strings.ToLower,
		"upper":      strings.ToUpper,
	} {
		changed := make(map[string]string)
		for k, v := range md {
			changed[change(k)] = v
		}
		got, ok := tr.FromHeader(changed)
		if !ok || got.TraceId != parent.TraceId || got.Id != parent.Id || !got.Sampled() {
			t.Errorf("%s: %v of %v", name, ok, changed)
			continue
		}
		if child := tr.NewSpan(got); child.TraceId != parent.TraceId || child.ParentId != parent.Id {
			t.Errorf("%s: child %q of %q", name, child.ParentId, parent.Id)
		}
	}
}

func headersKeepOthers(t *testing.T, s Subject) {
	tr := s.New(t)
	span := tr.NewSpan(nil)
	md := map[string]string{"Authorization": "x", "TRACEPARENT": "stale", "X-b3-traceid": "stale", "x-micro-trace-ID": "stale", "B3": "stale"}
	got := tr.NewHeader(md, span)
	if got["Authorization"] != "x" || md["Authorization"] != "x" {
		t.Errorf("NewHeader removed a header that is not its own: %v", got)
	}
	for k, v := range got {
		if v == "stale" {
			t.Errorf("NewHeader left a stale %s", k)
		}
	}
	if found, ok := tr.FromHeader(got); !ok || found.Id != span.Id {
		t.Errorf("reads another span than was written: %v", got)
	}
	before := len(got)
	if tr.NewHeader(got, nil); len(got) != before {
		t.Error("a nil span changed the headers")
	}
	for k, v := range tr.NewHeader(nil, &trace.Span{TraceId: "a\r\nb", Id: "c\nd", ParentId: "\x00"}) {
		t.Errorf("wrote an invalid id: %q: %q", k, v)
	}
}

func hostileHeaders(t *testing.T, s Subject) {
	tr := s.New(t)
	ids := strings.Repeat("a", 32) + "-" + strings.Repeat("b", 16)
	for _, md := range []map[string]string{
		nil,
		{},
		{"traceparent": ""},
		{"traceparent": "00-" + ids},
		{"traceparent": "ff-" + ids + "-01"},
		{"traceparent": "00-" + ids + "-01-more"},
		{"traceparent": "00-" + strings.ToUpper(ids) + "-01"},
		{"traceparent": "00-" + strings.Repeat("0", 32) + "-" + strings.Repeat("b", 16) + "-01"},
		{"traceparent": strings.Repeat("00-"+ids+"-01", 10000)},
		{"b3": ids + "-x"},
		{"b3": "-"},
		{"b3": strings.Repeat("-", 1000)},
		{"X-B3-TraceId": strings.Repeat("a", 32)},
		{"X-B3-TraceId": "a b", "X-B3-SpanId": "\r\n"},
		{"X-Micro-Trace-Id": "no id", "X-Micro-Span-Id": "no id"},
		{"X-Micro-Trace-Id": strings.Repeat("a", 1<<20), "X-Micro-Span-Id": strings.Repeat("b", 16)},
	} {
		if parent, ok := tr.FromHeader(md); ok {
			t.Errorf("%.200q has the span %q", md, parent.Id)
		}
	}
}

func sampledOut(t *testing.T, s Subject) {
	tr := s.New(t, trace.SampleRatio(0))
	root := tr.NewSpan(nil)
	child := tr.NewSpan(root)
	if root.Sampled() || child.Sampled() {
		t.Error("SampleRatio(0) recorded a span")
	}
	if !hex(root.TraceId, 32) || child.TraceId != root.TraceId || child.ParentId != root.Id {
		t.Error("a span that is not recorded has no usable ids")
	}
	child.Annotate("k", "v")
	if len(child.Annotations) > 0 {
		t.Error("a span that is not recorded keeps annotations")
	}
	if err := tr.Collect(child); err != nil {
		t.Errorf("collect: %v", err)
	}
	// The decision travels: the next service records nothing either.
	next := s.New(t)
	parent, ok := next.FromHeader(tr.NewHeader(nil, child))
	if !ok || next.NewSpan(parent).Sampled() {
		t.Errorf("the next service did not follow: %v", tr.NewHeader(nil, child))
	}
}

func debug(t *testing.T, s Subject) {
	for _, md := range []map[string]string{
		{"X-Micro-Trace-Id": strings.Repeat("a", 32), "X-Micro-Span-Id": strings.Repeat("b", 16), "X-Micro-Trace-Debug": "true"},
		{"b3": strings.Repeat("a", 32) + "-" + strings.Repeat("b", 16) + "-d"},
		{"X-B3-TraceId": strings.Repeat("a", 32), "X-B3-SpanId": strings.Repeat("b", 16), "X-B3-Flags": "1"},
	} {
		for _, trust := range []bool{false, true} {
			tr := s.New(t, trace.SampleRatio(0), trace.TrustDebug(trust))
			parent, ok := tr.FromHeader(md)
			if !ok {
				t.Fatalf("%v is no parent", md)
			}
			if span := tr.NewSpan(parent); span.Sampled() != trust || span.Debug != trust {
				t.Errorf("%v, trusted %v: sampled %v, debug %v", md, trust, span.Sampled(), span.Debug)
			}
		}
	}
}
