package otlp_test

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v6/registry"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/trace"
	"github.com/micro/go-platform/trace/otlp"
	"github.com/micro/go-platform/trace/tracetest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

// receiver is an OTLP collector that keeps what it gets.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	address string
	asked   atomic.Int64
	hang    chan struct{} // unless nil answers come when it is closed

	mu     sync.Mutex
	spans  []received
	answer func(*collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error)
}

type received struct {
	*otlp1.Span
	resource map[string]string
}

func receive(t *testing.T) *receiver {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{address: listener.Addr().String()}
	srv := grpc.NewServer()
	collector.RegisterTraceServiceServer(srv, r)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(listener) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-done; err != nil && !errors.Is(err, grpc.ErrServerStopped) { // stopped before it served
			t.Error(err)
		}
	})
	return r
}

func (r *receiver) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.asked.Add(1)
	if r.hang != nil {
		<-r.hang
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	rsp := &collector.ExportTraceServiceResponse{}
	if r.answer != nil {
		var err error
		if rsp, err = r.answer(req); err != nil {
			return nil, err
		}
	}
	for _, rs := range req.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				r.spans = append(r.spans, received{s, attributes(rs.Resource.Attributes)})
			}
		}
	}
	return rsp, nil
}

func (r *receiver) set(answer func(*collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func (r *receiver) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received(nil), r.spans...)
}

func attributes(kvs []*common.KeyValue) map[string]string {
	m := make(map[string]string)
	for _, kv := range kvs {
		m[kv.Key] = kv.Value.GetStringValue()
	}
	return m
}

func size(req *collector.ExportTraceServiceRequest) (n int) {
	for _, rs := range req.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			n += len(ss.Spans)
		}
	}
	return n
}

func newTrace(t testing.TB, r *receiver, opts ...trace.Option) trace.Trace {
	return otlp.NewTrace(append([]trace.Option{trace.Collectors([]string{r.address}), trace.Logger(rpctest.New(t).Logger)}, opts...)...)
}

func TestConformance(t *testing.T) {
	r := receive(t)
	made := func(t testing.TB, opts ...trace.Option) trace.Trace { return newTrace(t, r, opts...) }
	tracetest.Run(t, made)
	tracetest.RunExport(t, made, func(_ testing.TB, id string) (found []tracetest.Span) {
		for _, s := range r.all() {
			if hex.EncodeToString(s.TraceId) == id {
				found = append(found, suiteSpan(s))
			}
		}
		return found
	})
}

func suiteSpan(s received) tracetest.Span {
	kinds := map[otlp1.Span_SpanKind]trace.Kind{
		otlp1.Span_SPAN_KIND_CLIENT: trace.KindClient, otlp1.Span_SPAN_KIND_SERVER: trace.KindServer,
		otlp1.Span_SPAN_KIND_PRODUCER: trace.KindProducer, otlp1.Span_SPAN_KIND_CONSUMER: trace.KindConsumer,
	}
	return tracetest.Span{
		ID: hex.EncodeToString(s.SpanId), ParentID: hex.EncodeToString(s.ParentSpanId), Name: strings.Replace(s.Name, "/", ".", 1), Kind: kinds[s.Kind],
		Service: s.resource["service.name"], Duration: time.Duration(s.EndTimeUnixNano - s.StartTimeUnixNano),
		Error: s.Status.GetMessage(), Tags: attributes(s.Attributes),
	}
}

func start(t *testing.T, tr trace.Trace) {
	t.Helper()
	if err := tr.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Stop(); err != nil {
			t.Error(err)
		}
	})
}

func collect(t *testing.T, tr trace.Trace, spans ...*trace.Span) {
	t.Helper()
	for _, s := range spans {
		if err := tr.Collect(s); err != nil {
			t.Fatal(err)
		}
	}
}

func dropped(tr trace.Trace) uint64 { return tr.Dropped() }

func TestWhatArrives(t *testing.T) {
	r := receive(t)
	tr := newTrace(t, r, trace.BatchInterval(5*time.Millisecond))
	start(t, tr)
	caller, _ := tr.FromHeader(map[string]string{
		"traceparent": "00-" + strings.Repeat("a", 32) + "-" + strings.Repeat("b", 16) + "-01", "tracestate": "vendor=x"})
	s := tr.NewSpan(caller)
	shop := &registry.Service{Name: "shop", Version: "2", Nodes: []*registry.Node{{Id: "shop-1"}}}
	s.Source, s.Destination = shop, &registry.Service{Name: "stock"}
	s.Annotations = append(s.Annotations,
		&trace.Annotation{Timestamp: time.Now(), Type: trace.AnnClientRequest},
		&trace.Annotation{Timestamp: time.Now(), Type: trace.AnnTimeout})
	collect(t, tr, s)
	rpctest.Eventually(t, "the span arrives", func() bool { return len(r.all()) == 1 })
	got := r.all()[0]
	if got.TraceState != "vendor=x" || hex.EncodeToString(got.ParentSpanId) != caller.Id ||
		got.resource["service.version"] != "2" || got.resource["service.instance.id"] != "shop-1" ||
		attributes(got.Attributes)["service.peer.name"] != "stock" || len(got.Events) != 1 || got.Events[0].Name != "timeout" {
		t.Errorf("got %v of %v", got.Span, got.resource)
	}
}

func TestOutage(t *testing.T) {
	r := receive(t)
	r.set(func(*collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
		return nil, status.Error(codes.Unavailable, "later")
	})
	tr := newTrace(t, r, trace.BatchInterval(5*time.Millisecond))
	start(t, tr)
	collect(t, tr, tr.NewSpan(nil))
	r.set(nil)
	rpctest.Eventually(t, "the span comes again", func() bool { return len(r.all()) == 1 })
	if dropped(tr) != 0 {
		t.Errorf("%d dropped", dropped(tr))
	}
}

func TestRefusedSpansAreCounted(t *testing.T) {
	r := receive(t)
	r.set(func(req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
		for _, rs := range req.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					if s.Name == "bad" {
						return nil, status.Error(codes.InvalidArgument, "bad")
					}
				}
			}
		}
		if size(req) > 4 {
			return nil, status.Error(codes.ResourceExhausted, "message too large")
		}
		return &collector.ExportTraceServiceResponse{}, nil
	})
	tr := newTrace(t, r)
	start(t, tr)
	var spans []*trace.Span
	for n := range 20 {
		s := tr.NewSpan(nil)
		if n == 7 {
			s.Name = "bad"
		}
		spans = append(spans, s)
	}
	collect(t, tr, spans...)
	collect(t, tr, &trace.Span{TraceId: "none", Id: "none", Timestamp: time.Now()})
	if err := tr.Stop(); !errors.Is(err, trace.ErrLost) || !strings.Contains(err.Error(), "lost 1 span: ") {
		t.Errorf("Stop: %v", err)
	}
	if len(r.all()) != 19 || dropped(tr) != 2 {
		t.Errorf("%d arrived, %d dropped, want 19 and 2", len(r.all()), dropped(tr))
	}
}

func TestPartialSuccessIsNotSentAgain(t *testing.T) {
	r := receive(t)
	r.set(func(*collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
		return &collector.ExportTraceServiceResponse{PartialSuccess: &collector.ExportTracePartialSuccess{RejectedSpans: 2, ErrorMessage: "quota"}}, nil
	})
	tr := newTrace(t, r, trace.BatchInterval(time.Hour))
	start(t, tr)
	collect(t, tr, tr.NewSpan(nil), tr.NewSpan(nil), tr.NewSpan(nil))
	if err := tr.Stop(); err != nil {
		t.Fatal(err)
	}
	if len(r.all()) != 3 || dropped(tr) != 2 {
		t.Errorf("%d sent, %d dropped, want 3 and 2", len(r.all()), dropped(tr))
	}
}

func TestBadCollectors(t *testing.T) {
	tr := otlp.NewTrace(trace.Collectors([]string{"a:1", "nowhere"}))
	const want = `trace: option Collectors: "nowhere" is not host:port`
	if err := tr.Start(); !errors.Is(err, trace.ErrInvalid) || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if err := tr.Stop(); err != nil {
		t.Error(err)
	}
}

// The first is dead, the next hangs, the last takes all.
func TestOneOfSeveralCollectors(t *testing.T) {
	hanging, alive := receive(t), receive(t)
	hanging.hang = make(chan struct{})
	defer close(hanging.hang)
	tr := otlp.NewTrace(trace.Collectors([]string{"127.0.0.1:1", hanging.address, alive.address}), trace.Logger(rpctest.New(t).Logger),
		trace.CollectTimeout(time.Second), trace.BatchInterval(5*time.Millisecond))
	start(t, tr)
	collect(t, tr, tr.NewSpan(nil))
	rpctest.Eventually(t, "the span arrives", func() bool { return len(alive.all()) == 1 })
	collect(t, tr, tr.NewSpan(nil))
	rpctest.Eventually(t, "the next span arrives", func() bool { return len(alive.all()) == 2 })
}

// Another collector may take what one refuses for good: nothing is lost while it is
// down.
func TestForGoodIsWhatAllCollectorsSay(t *testing.T) {
	refusing := receive(t)
	refusing.set(func(*collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
		return nil, status.Error(codes.InvalidArgument, "bad")
	})
	down := receive(t)
	down.set(func(*collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
		return nil, status.Error(codes.Unavailable, "later")
	})
	tr := otlp.NewTrace(trace.Collectors([]string{down.address, refusing.address}), trace.Logger(rpctest.New(t).Logger),
		trace.BatchInterval(5*time.Millisecond))
	start(t, tr)
	collect(t, tr, tr.NewSpan(nil))
	rpctest.Eventually(t, "both were asked", func() bool { return refusing.asked.Load() > 1 && down.asked.Load() > 1 })
	down.set(nil)
	rpctest.Eventually(t, "the span arrives", func() bool { return len(down.all()) == 1 })
	if n := dropped(tr); n != 0 {
		t.Errorf("%d dropped", n)
	}
}

func TestTLS(t *testing.T) {
	r := receive(t)
	rpctest.Handshakes(t, r.address, func(t *testing.T, addr string, c *tls.Config) error {
		tr := otlp.NewTrace(trace.Collectors([]string{addr}), trace.TLS(c), trace.Logger(slog.New(slog.DiscardHandler)))
		collect(t, tr, tr.NewSpan(nil))
		return tr.Stop()
	})
}
