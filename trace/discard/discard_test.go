package discard_test

import (
	"testing"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/trace"
	"github.com/micro/go-platform/trace/discard"
	"github.com/micro/go-platform/trace/tracetest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func TestConformance(t *testing.T) {
	tracetest.Run(t, func(_ testing.TB, opts ...trace.Option) trace.Trace { return discard.NewTrace(opts...) })
}

func TestIDsAreMadeAndPassedOn(t *testing.T) {
	tr := discard.NewTrace(trace.TrustDebug(true))
	root := tr.NewSpan(nil)
	if root.Sampled() || len(root.TraceId) != 32 {
		t.Errorf("sampled %v, trace %q", root.Sampled(), root.TraceId)
	}
	got, ok := tr.FromHeader(tr.NewHeader(nil, tr.NewSpan(root)))
	if !ok || got.TraceId != root.TraceId {
		t.Errorf("passed on %v %+v", ok, got)
	}
	if err := tr.Collect(root); err != nil || tr.Dropped() != 0 || tr.String() != "discard" {
		t.Errorf("collect: %v, %d dropped", err, tr.Dropped())
	}
}
