package tracetest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/trace"
)

func hex(s string, size int) bool {
	return len(s) == size && strings.Trim(s, "0123456789abcdef") == "" && strings.Trim(s, "0") != ""
}

func spans(t *testing.T, newTrace New) {
	tr := newTrace(t)
	root := tr.NewSpan(nil)
	if !hex(root.TraceId, 32) || !hex(root.Id, 16) || root.ParentId != "" || root.Sampled() == root.Timestamp.IsZero() {
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

// byHand makes children as programs written for the original go-platform do.
func byHand(t *testing.T, newTrace New) {
	tr := newTrace(t)
	root := tr.NewSpan(nil)
	self, stock := &registry.Service{Name: "shop"}, &registry.Service{Name: "stock"}
	child := tr.NewSpan(&trace.Span{TraceId: root.TraceId, ParentId: root.Id, Name: "work", Source: self, Destination: stock})
	if child.TraceId != root.TraceId || child.ParentId != root.Id || !hex(child.Id, 16) || child.Id == root.Id ||
		child.Name != "work" || child.Source != self || child.Destination != stock || child.Sampled() != root.Sampled() {
		t.Errorf("child %q of %q/%q: trace %q, parent %q, name %q, sampled %v", child.Id, root.TraceId, root.Id, child.TraceId, child.ParentId, child.Name, child.Sampled())
	}
	parent := &trace.Span{TraceId: strings.Repeat("a", 32), Id: strings.Repeat("b", 16), Name: "parent"}
	if s := tr.NewSpan(parent); s.ParentId != parent.Id || s.TraceId != parent.TraceId || s.Name != "" {
		t.Errorf("child of a parent made by hand: trace %q, parent %q, name %q", s.TraceId, s.ParentId, s.Name)
	}
	cut := tr.NewSpan(&trace.Span{TraceId: "abc", ParentId: "def"})
	if cut.TraceId != strings.Repeat("0", 29)+"abc" || cut.ParentId != strings.Repeat("0", 13)+"def" {
		t.Errorf("ids without leading zeros: trace %q, parent %q", cut.TraceId, cut.ParentId)
	}
}

// firstByHand makes the first span of a trace by hand.
func firstByHand(t *testing.T, newTrace New) {
	tr := newTrace(t)
	begun := time.Now().Add(-time.Minute)
	first := tr.NewSpan(&trace.Span{Name: "first", ParentId: "0", Debug: true, Timestamp: begun, Duration: time.Second,
		Annotations: []*trace.Annotation{{Key: "k"}}})
	if !hex(first.TraceId, 32) || first.ParentId != "" || first.Name != "first" || !first.Debug || !first.Sampled() ||
		!first.Timestamp.Equal(begun) || first.Duration != time.Second || len(first.Annotations) != 1 {
		t.Errorf("the first span of a trace: %+v", first)
	}
}

func contexts(t *testing.T, newTrace New) {
	tr := newTrace(t)
	if span, ok := tr.FromContext(context.Background()); ok {
		t.Errorf("an empty context has the span %v", span.Id)
	}
	span := tr.NewSpan(nil)
	if got, ok := tr.FromContext(tr.NewContext(context.Background(), span)); !ok || got != span {
		t.Error("the span did not come back from its context")
	}
}

func headers(t *testing.T, newTrace New) {
	tr := newTrace(t)
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
		if !ok || got.TraceId != parent.TraceId || got.Id != parent.Id || got.Sampled() != parent.Sampled() {
			t.Errorf("%s: %v of %v", name, ok, changed)
			continue
		}
		if child := tr.NewSpan(got); child.TraceId != parent.TraceId || child.ParentId != parent.Id {
			t.Errorf("%s: child %q of %q", name, child.ParentId, parent.Id)
		}
	}
}

func headersKeepOthers(t *testing.T, newTrace New) {
	tr := newTrace(t)
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

func hostileHeaders(t *testing.T, newTrace New) {
	tr := newTrace(t)
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

func sampledOut(t *testing.T, newTrace New) {
	tr := newTrace(t, trace.SampleRatio(0))
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
	next := newTrace(t)
	parent, ok := next.FromHeader(tr.NewHeader(nil, child))
	if !ok || next.NewSpan(parent).Sampled() {
		t.Errorf("the next service did not follow: %v", tr.NewHeader(nil, child))
	}
}

func badOptions(t *testing.T, newTrace New) {
	for name, opt := range map[string]trace.Option{
		"BatchSize":      trace.BatchSize(-1),
		"BatchInterval":  trace.BatchInterval(-time.Second),
		"CollectTimeout": trace.CollectTimeout(0),
		"QueueSize":      trace.QueueSize(0),
		"Topic":          trace.Topic(""),
		"SampleRatio":    trace.SampleRatio(1.5),
		"SampleRate":     trace.SampleRate(-1),
		"Headers":        trace.Headers(),
		"Collectors":     trace.Collectors([]string{""}),
	} {
		tr := newTrace(t, opt)
		if err := tr.Start(); !errors.Is(err, trace.ErrInvalid) || !strings.HasPrefix(err.Error(), "trace: option "+name+": ") {
			t.Errorf("%s: Start returned %v", name, err)
		}
		if err := tr.Stop(); err != nil {
			t.Errorf("%s: Stop returned %v", name, err)
		}
	}
}
