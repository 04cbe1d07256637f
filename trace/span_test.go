package trace_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	merrors "go-micro.dev/v6/errors"

	"github.com/micro/go-platform/trace"
)

func TestSampleRatio(t *testing.T) {
	quarter, half := newSink(trace.SampleRatio(0.25)), newSink(trace.SampleRatio(0.5), trace.SampleParent(false))
	const n = 20000
	count := 0
	for range n {
		s := quarter.NewSpan(nil)
		if !s.Sampled() {
			continue
		}
		count++
		// A service with a greater ratio records all that one with a lesser does.
		caller, _ := half.FromHeader(quarter.NewHeader(nil, s))
		if !half.NewSpan(caller).Sampled() {
			t.Fatal("two services disagree on a trace")
		}
	}
	// 25 % ± 6 standard deviations
	if count < n/4-370 || count > n/4+370 {
		t.Errorf("%d of %d sampled", count, n)
	}
}

func TestSampleRate(t *testing.T) {
	tr := newSink(trace.SampleRate(10))
	begun, count := time.Now(), 0
	for range 10000 {
		if tr.NewSpan(nil).Sampled() {
			count++
		}
	}
	if most := 10 + int(10*time.Since(begun).Seconds()) + 1; count < 10 || count > most {
		t.Errorf("%d sampled, want 10 to %d", count, most)
	}
}

func TestSampleParent(t *testing.T) {
	md := map[string]string{"traceparent": "00-" + traceID + "-" + spanID + "-01"}
	for _, follow := range []bool{true, false} {
		tr := newSink(trace.SampleRatio(0), trace.SampleParent(follow))
		caller, _ := tr.FromHeader(md)
		s := tr.NewSpan(caller)
		if s.Sampled() != follow || tr.NewSpan(s).Sampled() != follow {
			t.Errorf("follow %v: sampled %v", follow, s.Sampled())
		}
	}
}

func TestSpansAreBounded(t *testing.T) {
	s := newSink().NewSpan(nil)
	s.Annotate(strings.Repeat("k", 1000), strings.Repeat("ä", 1000))
	a := s.Annotations[0]
	if len(a.Key) != trace.MaxKey || len(a.Value) != trace.MaxValue || !strings.HasPrefix(strings.Repeat("ä", 1000), string(a.Value)) {
		t.Errorf("kept %d and %d bytes", len(a.Key), len(a.Value))
	}
	s.Annotate("ä"+strings.Repeat("x", trace.MaxKey-3)+"ä", "") // does not cut a character
	if k := s.Annotations[1].Key; len(k) != trace.MaxKey-1 {
		t.Errorf("cut to %d bytes", len(k))
	}
	for range 1000 {
		s.Annotate("k", "v")
	}
	if n := len(s.Annotations); n != trace.MaxAnnotations || s.DroppedAnnotations() != 1002-trace.MaxAnnotations+2 {
		t.Errorf("%d annotations, %d dropped", n, s.DroppedAnnotations())
	}
	if trace.Message(s).DroppedAnnotations == 0 {
		t.Error("what was dropped is not reported")
	}
}

func TestMessagesAreBounded(t *testing.T) {
	s := newSink().NewSpan(nil)
	for range 200 {
		s.Annotations = append(s.Annotations, &trace.Annotation{Key: strings.Repeat("k", 200), Value: make([]byte, 2000)})
	}
	m := trace.Message(s)
	if len(m.Annotations) != trace.MaxAnnotations || m.DroppedAnnotations != 200 ||
		len(m.Annotations[0].Key) != trace.MaxKey || len(m.Annotations[0].Value) != trace.MaxValue {
		t.Errorf("%d annotations, %d dropped", len(m.Annotations), m.DroppedAnnotations)
	}
}

func TestFail(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
		typ  trace.AnnotationType
	}{
		{nil, "", 0},
		{io.EOF, "", 0},
		{errors.New("EOS"), "", 0},
		{errors.New("plain"), "plain", trace.AnnUnknown},
		{fmt.Errorf("wrapped: %w", merrors.Conflict("id", "taken")), "taken", trace.AnnUnknown},
		{errors.New(merrors.NotFound("id", "gone").Error()), "gone", trace.AnnUnknown},
		{merrors.Timeout("id", "late"), "late", trace.AnnTimeout},
		{context.DeadlineExceeded, "context deadline exceeded", trace.AnnTimeout},
	} {
		s := newSink().NewSpan(nil)
		s.Fail(c.err)
		if failure(s) != c.want || c.want != "" && s.Annotations[0].Type != c.typ {
			t.Errorf("%v: recorded %q", c.err, failure(s))
		}
	}
}

func TestNothingIsAddedAfterTheEnd(t *testing.T) {
	tr := newSink()
	s := tr.NewSpan(nil)
	s.Duration = -time.Second
	if err := tr.Collect(s); err != nil {
		t.Fatal(err)
	}
	if s.Annotate("k", "v"); len(s.Annotations) != 0 || s.Duration != 0 {
		t.Errorf("%d annotations, duration %v", len(s.Annotations), s.Duration)
	}
}

func TestTraceInContext(t *testing.T) {
	tr := newSink()
	if got, ok := trace.FromContext(trace.NewContext(context.Background(), tr)); !ok || got != tr {
		t.Error("the Trace did not come back")
	}
	if _, ok := trace.FromContext(context.Background()); ok {
		t.Error("an empty context has a Trace")
	}
}

func TestIDsAreHex(t *testing.T) {
	tr := newSink()
	seen := make(map[byte]bool)
	for range 1000 {
		s := tr.NewSpan(nil)
		if !isHex(s.TraceId, 32) || !isHex(s.Id, 16) {
			t.Fatalf("ids %q and %q", s.TraceId, s.Id)
		}
		for i := range len(s.Id) {
			seen[s.Id[i]] = true
		}
	}
	if len(seen) != 16 {
		t.Errorf("%d digits in use, want 16", len(seen))
	}
}

// A span made by hand with the trace id of another is recorded if the other is.
func TestSpansByHandAreSampledWithTheirTrace(t *testing.T) {
	tr := newSink(trace.SampleRatio(0.5))
	for range 100 {
		root := tr.NewSpan(nil)
		if s := tr.NewSpan(&trace.Span{TraceId: root.TraceId, ParentId: root.Id}); s.Sampled() != root.Sampled() {
			t.Fatalf("sampled %v of a trace that is %v", s.Sampled(), root.Sampled())
		}
	}
}
