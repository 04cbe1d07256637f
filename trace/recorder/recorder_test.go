package recorder_test

import (
	"strings"
	"testing"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/trace"
	"github.com/micro/go-platform/trace/recorder"
	"github.com/micro/go-platform/trace/tracetest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func TestConformance(t *testing.T) {
	var all []*recorder.Recorder
	newTrace := func(_ testing.TB, opts ...trace.Option) trace.Trace {
		r := recorder.NewTrace(opts...)
		all = append(all, r)
		return r
	}
	tracetest.Run(t, newTrace)
	tracetest.RunExport(t, newTrace, func(_ testing.TB, traceID string) (found []tracetest.Span) {
		for _, r := range all {
			for _, s := range r.Spans() {
				if s.TraceId == traceID {
					found = append(found, convert(s))
				}
			}
		}
		return found
	})
}

func convert(s *trace.Span) tracetest.Span {
	got := tracetest.Span{ID: s.Id, ParentID: s.ParentId, Name: s.Name, Kind: s.Kind(), Duration: s.Duration, Tags: map[string]string{}}
	if l := s.Local(); l != nil {
		got.Service = l.Name
	}
	for _, a := range s.Annotations {
		if a == nil {
			continue
		}
		if a.Key == trace.ErrorKey {
			got.Error = string(a.Value)
		}
		got.Tags[a.Key] = string(a.Value)
	}
	return got
}

func TestBounded(t *testing.T) {
	r := recorder.NewTrace(trace.QueueSize(1))
	if err := r.Collect(r.NewSpan(nil)); err != nil {
		t.Fatal(err)
	}
	if err := r.Collect(r.NewSpan(nil)); err == nil || !strings.Contains(err.Error(), "full") || r.Dropped() != 1 {
		t.Fatalf("got %v, %d dropped", err, r.Dropped())
	}
	if r.Reset(); len(r.Spans()) != 0 {
		t.Fatal("Reset kept a span")
	}
}
