package discard_test

import (
	"testing"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/trace"
	"github.com/micro/go-platform/trace/discard"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

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
	if err := tr.Collect(root); err != nil || tr.Start() != nil || tr.Stop() != nil || tr.Dropped() != 0 || tr.String() != "discard" {
		t.Error("discard failed")
	}
}
