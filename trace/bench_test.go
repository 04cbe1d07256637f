package trace_test

import (
	"context"
	"testing"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/trace"
)

// sink is a plugin that sends nothing.
type sink struct{ *trace.Tracer }

func (sink) Collect(s *trace.Span) error { s.End(); return nil }
func (sink) Start() error                { return nil }
func (sink) Stop() error                 { return nil }
func (sink) Dropped() uint64             { return 0 }
func (sink) String() string              { return "sink" }

func newSink(opts ...trace.Option) trace.Trace {
	return sink{trace.NewTracer(trace.NewOptions(opts...))}
}

func BenchmarkSpanAndChild(b *testing.B) {
	for _, c := range []struct {
		name  string
		ratio float64
	}{{"sampled", 1}, {"unsampled", 0}} {
		b.Run(c.name, func(b *testing.B) {
			tr := newSink(trace.SampleRatio(c.ratio))
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				ctx, span := trace.Begin(ctx, tr, "span")
				_, child := trace.Begin(ctx, tr, "child")
				trace.End(tr, child, nil)
				trace.End(tr, span, nil)
			}
		})
	}
}

// noop is a client whose calls end in a handler, by way of the metadata that
// a transport would carry.
type noop struct {
	client.Client
	handler server.HandlerFunc
}

func (n noop) Call(ctx context.Context, _ client.Request, rsp any, _ ...client.CallOption) error {
	md, _ := metadata.FromContext(ctx)
	return n.handler(ctx, request{header: md}, rsp)
}

type clientRequest struct{ client.Request }

func (clientRequest) Endpoint() string { return "Shop.Buy" }
func (clientRequest) Service() string  { return "shop" }

func BenchmarkWrappers(b *testing.B) {
	var req clientRequest
	handler := func(context.Context, server.Request, any) error { return nil }
	ctx := metadata.NewContext(context.Background(), metadata.Metadata{"Micro-From-Service": "front", "X-Tenant": "a", "Authorization": "b"})
	svc := &registry.Service{Name: "shop"}
	run := func(name string, c client.Client) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Call(ctx, req, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("none", noop{handler: handler})
	for name, tr := range map[string]trace.Trace{"sampled": newSink(), "unsampled": newSink(trace.SampleRatio(0))} {
		run(name, trace.ClientWrapper(tr, svc)(noop{handler: trace.HandlerWrapper(tr, svc)(handler)}))
	}
}

func BenchmarkFromHeader(b *testing.B) {
	tr := newSink()
	md := tr.NewHeader(map[string]string{"Authorization": "x", "Micro-From-Service": "y", "Content-Type": "z"}, tr.NewSpan(nil))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := tr.FromHeader(md); !ok {
			b.Fatal("no span")
		}
	}
}
