package bench_test

import (
	"context"
	"net/http"
	"testing"

	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	otel "go.opentelemetry.io/otel/trace"

	"github.com/micro/go-platform/trace"
)

// ended is a span processor that drops what is finished, and sink a plugin
// that does: both sides pay for making spans, not for sending them.
type ended struct{}

func (ended) OnStart(context.Context, sdk.ReadWriteSpan) {}
func (ended) OnEnd(sdk.ReadOnlySpan)                     {}
func (ended) Shutdown(context.Context) error             { return nil }
func (ended) ForceFlush(context.Context) error           { return nil }

type sink struct{ *trace.Tracer }

func (sink) Collect(s *trace.Span) error { s.End(); return nil }
func (sink) Start() error                { return nil }
func (sink) Stop() error                 { return nil }
func (sink) Dropped() uint64             { return 0 }
func (sink) String() string              { return "sink" }

func tracers(ratio float64) (trace.Trace, otel.Tracer) {
	provider := sdk.NewTracerProvider(
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(ratio))),
		sdk.WithSpanProcessor(ended{}))
	return sink{trace.NewTracer(trace.NewOptions(trace.SampleRatio(ratio)))}, provider.Tracer("bench")
}

// BenchmarkTraceSpanAndChild opens a span and a child and ends both.
func BenchmarkTraceSpanAndChild(b *testing.B) {
	for _, c := range []struct {
		name  string
		ratio float64
	}{{"sampled", 1}, {"unsampled", 0}} {
		ours, theirs := tracers(c.ratio)
		b.Run(c.name+"/platform", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ctx, span := trace.Begin(context.Background(), ours, "span")
				_, child := trace.Begin(ctx, ours, "child")
				trace.End(ours, child, nil)
				trace.End(ours, span, nil)
			}
		})
		b.Run(c.name+"/otel", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ctx, span := theirs.Start(context.Background(), "span")
				_, child := theirs.Start(ctx, "child")
				child.End()
				span.End()
			}
		})
	}
}

// BenchmarkTraceSpanUnsampled opens and ends one span that is not recorded.
func BenchmarkTraceSpanUnsampled(b *testing.B) {
	ours, theirs := tracers(0)
	b.Run("platform", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, span := trace.Begin(context.Background(), ours, "span")
			trace.End(ours, span, nil)
		}
	})
	b.Run("otel", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, span := theirs.Start(context.Background(), "span")
			span.End()
		}
	})
}

// BenchmarkTraceQueue has the whole way up to the exporter in it.
func BenchmarkTraceQueue(b *testing.B) {
	p := trace.NewPlugin("bench", discard{}, trace.NewOptions())
	if err := p.Start(); err != nil {
		b.Fatal(err)
	}
	b.Run("platform", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, span := trace.Begin(context.Background(), p, "span")
			trace.End(p, span, nil)
		}
	})
	if err := p.Stop(); err != nil {
		b.Fatal(err)
	}
	provider := sdk.NewTracerProvider(sdk.WithBatcher(noExport{}))
	theirs := provider.Tracer("bench")
	b.Run("otel", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, span := theirs.Start(context.Background(), "span")
			span.End()
		}
	})
	if err := provider.Shutdown(context.Background()); err != nil {
		b.Fatal(err)
	}
}

type discard struct{}

func (discard) Start() error                                { return nil }
func (discard) Export(context.Context, []*trace.Span) error { return nil }
func (discard) Stop() error                                 { return nil }

type noExport struct{}

func (noExport) ExportSpans(context.Context, []sdk.ReadOnlySpan) error { return nil }
func (noExport) Shutdown(context.Context) error                        { return nil }

// BenchmarkTracePropagation writes a span's header and reads it back.
func BenchmarkTracePropagation(b *testing.B) {
	ours, theirs := tracers(1)
	b.Run("platform", func(b *testing.B) {
		span := ours.NewSpan(nil)
		write := ours.(interface {
			WriteHeader(map[string]string, *trace.Span) map[string]string
		}).WriteHeader
		b.ReportAllocs()
		for b.Loop() {
			md := write(map[string]string{"authorization": "x", "micro-from-service": "y"}, span)
			if _, ok := ours.FromHeader(md); !ok {
				b.Fatal("no span")
			}
		}
	})
	b.Run("otel", func(b *testing.B) {
		ctx, _ := theirs.Start(context.Background(), "span")
		var p propagation.TraceContext
		b.ReportAllocs()
		for b.Loop() {
			h := propagation.HeaderCarrier(http.Header{"Authorization": {"x"}, "Micro-From-Service": {"y"}})
			p.Inject(ctx, h)
			if got := p.Extract(context.Background(), h); !otel.SpanContextFromContext(got).IsValid() {
				b.Fatal("no span")
			}
		}
	})
}
