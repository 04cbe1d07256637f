package trace_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	stdnet "net"
	"strings"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v6/broker"
	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/trace"
	tracesrv "github.com/micro/go-platform/trace/internal/srv"
	pb "github.com/micro/go-platform/trace/proto"
	"github.com/micro/go-platform/trace/tracetest"
)

// platform is the default plugin on a network that may have a trace-srv.
func platform(net *rpctest.Net, c client.Client, opts ...trace.Option) trace.Trace {
	return trace.NewTrace(append([]trace.Option{trace.Client(c), trace.Logger(net.Logger)}, opts...)...)
}

func TestConformance(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		net := rpctest.New(t)
		net.Boot(tracesrv.Service())
		c := net.Client(stack)
		svc := pb.NewTraceService(trace.ServiceName, net.Client(rpctest.GRPC))
		newTrace := func(_ testing.TB, opts ...trace.Option) trace.Trace { return platform(net, c, opts...) }
		tracetest.Run(t, newTrace)
		tracetest.RunExport(t, newTrace, func(t testing.TB, id string) (found []tracetest.Span) {
			rsp, err := svc.Read(context.Background(), &pb.ReadRequest{Id: id})
			if err != nil && call.Code(err) != 404 {
				t.Fatal(err)
			}
			for _, s := range rsp.GetSpans() {
				found = append(found, convert(s))
			}
			return found
		})
	})
}

func convert(s *pb.Span) tracetest.Span {
	got := tracetest.Span{ID: s.Id, ParentID: s.ParentId, Name: s.Name, Duration: time.Duration(s.Duration) * time.Microsecond, Tags: map[string]string{}}
	for _, a := range s.Annotations {
		if k := trace.AnnotationType(a.Type).Kind(); k != trace.KindInternal {
			got.Kind = k
		}
		if a.Key == trace.ErrorKey {
			got.Error = string(a.Value)
		}
		got.Tags[a.Key] = string(a.Value)
	}
	got.Service = s.Source.GetName()
	if got.Kind == trace.KindServer {
		got.Service = s.Destination.GetName()
	}
	return got
}

func started(t *testing.T, tr trace.Trace) trace.Trace {
	t.Helper()
	if err := tr.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Stop() }) // tests that care call it themselves
	return tr
}

func record(t *testing.T, tr trace.Trace) *trace.Span {
	t.Helper()
	s := tr.NewSpan(nil)
	if err := tr.Collect(s); err != nil {
		t.Fatal(err)
	}
	return s
}

// published collects the spans that the topic carries.
type published struct {
	mu  sync.Mutex
	ids map[string]int
}

func listen(t *testing.T, net *rpctest.Net) *published {
	p := &published{ids: make(map[string]int)}
	s := net.Server(rpctest.GRPC, "listener")
	if err := s.Subscribe(s.NewSubscriber(trace.TraceTopic, func(_ context.Context, m *pb.Span) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ids[m.Id]++
		return nil
	})); err != nil {
		t.Fatal(err)
	}
	net.Start(s)
	return p
}

func (p *published) has(ids ...string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		if p.ids[id] == 0 {
			return false
		}
	}
	return true
}

func TestWorksBeforeTraceSrvExists(t *testing.T) {
	net := rpctest.New(t)
	topic := listen(t, net)
	tr := started(t, platform(net, net.Client(rpctest.RPC), trace.BatchInterval(20*time.Millisecond), trace.BatchSize(10)))
	var spans []*trace.Span
	for range 30 { // three batches, so the later ones wait behind the first
		spans = append(spans, record(t, tr))
	}
	rpctest.Eventually(t, "the topic has what could not be sent", func() bool { return topic.has(spans[0].Id) })
	late := record(t, tr)
	rpctest.Eventually(t, "the topic has what came later", func() bool { return topic.has(late.Id) })

	net.Boot(tracesrv.Service())
	svc := pb.NewTraceService(trace.ServiceName, net.Client(rpctest.GRPC))
	for _, s := range append(spans, late) {
		rpctest.Eventually(t, "trace-srv has the span", func() bool {
			rsp, err := svc.Read(context.Background(), &pb.ReadRequest{Id: s.TraceId})
			return err == nil && len(rsp.Spans) == 1
		})
	}
	if err := tr.Stop(); err != nil {
		t.Error(err)
	}
}

func TestLossIsCounted(t *testing.T) {
	net := rpctest.New(t)
	tr := started(t, platform(net, net.Client(rpctest.GRPC), trace.QueueSize(5)))
	failed := 0
	for range 20 {
		if tr.Collect(tr.NewSpan(nil)) != nil {
			failed++
		}
	}
	begun := time.Now()
	err := tr.Stop()
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("Stop took %v", took)
	}
	if !errors.Is(err, trace.ErrLost) || !strings.HasPrefix(err.Error(), "trace: lost 5 spans: ") {
		t.Errorf("Stop returned %v", err)
	}
	if dropped := tr.Dropped(); dropped != 20 || failed == 0 {
		t.Errorf("%d dropped, %d refused, want 20 in all", dropped, failed)
	}
}

func TestInvalidSpansAreCountedNotRetried(t *testing.T) {
	net := rpctest.New(t)
	net.Boot(tracesrv.Service())
	tr := started(t, platform(net, net.Client(rpctest.GRPC), trace.BatchInterval(10*time.Millisecond)))
	bad := tr.NewSpan(nil)
	bad.Duration = 1000 * 24 * time.Hour
	huge := tr.NewSpan(nil)
	huge.Source = &registry.Service{Name: "x", Version: strings.Repeat("x", trace.MaxSpanSize)}
	for _, s := range []*trace.Span{bad, huge} {
		if err := tr.Collect(s); err != nil {
			t.Fatal(err)
		}
	}
	good := record(t, tr)
	svc := pb.NewTraceService(trace.ServiceName, net.Client(rpctest.GRPC))
	rpctest.Eventually(t, "the good span arrives", func() bool {
		_, err := svc.Read(context.Background(), &pb.ReadRequest{Id: good.TraceId})
		return err == nil
	})
	rpctest.Eventually(t, "the others are counted", func() bool { return tr.Dropped() == 2 })
	if err := tr.Stop(); err != nil {
		t.Error(err)
	}
}

func TestSendingSpansIsNotTraced(t *testing.T) {
	net := rpctest.New(t)
	net.Boot(tracesrv.Service())
	var tr trace.Trace
	c := net.Client(rpctest.GRPC, func(c client.Client) client.Client { return late{c, &tr} })
	tr = started(t, platform(net, c, trace.BatchInterval(10*time.Millisecond)))
	s := record(t, tr)
	svc := pb.NewTraceService(trace.ServiceName, net.Client(rpctest.GRPC))
	rpctest.Eventually(t, "the span arrives", func() bool {
		_, err := svc.Read(context.Background(), &pb.ReadRequest{Id: s.TraceId})
		return err == nil
	})
	if err := tr.Stop(); err != nil {
		t.Fatal(err)
	}
	if rsp, err := svc.Search(context.Background(), &pb.SearchRequest{}); err != nil || len(rsp.Spans) != 1 {
		t.Errorf("%v, %v, want the one span", rsp, err)
	}
}

// late wraps a client for a Trace that is made after it.
type late struct {
	client.Client
	trace *trace.Trace
}

func (l late) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	return trace.ClientWrapper(*l.trace, nil)(l.Client).Call(ctx, req, rsp, opts...)
}

func TestCollectors(t *testing.T) {
	net, lonely := rpctest.New(t), rpctest.New(t)
	running := net.Boot(tracesrv.Service())
	tr := started(t, platform(lonely, lonely.Client(rpctest.GRPC), trace.Collectors([]string{running.Address()})))
	record(t, tr)
	if err := tr.Stop(); err != nil {
		t.Fatal(err)
	}
}

func TestABrokenBrokerIsNoTrouble(t *testing.T) {
	net := rpctest.New(t)
	net.Broker = brokenBroker{net.Broker}
	tr := started(t, platform(net, net.Client(rpctest.GRPC), trace.BatchInterval(10*time.Millisecond), trace.Logger(slog.New(slog.DiscardHandler))))
	s := record(t, tr)
	net.Boot(tracesrv.Service())
	svc := pb.NewTraceService(trace.ServiceName, net.Client(rpctest.GRPC))
	rpctest.Eventually(t, "the span arrives", func() bool {
		_, err := svc.Read(context.Background(), &pb.ReadRequest{Id: s.TraceId})
		return err == nil
	})
}

type brokenBroker struct{ broker.Broker }

func (brokenBroker) Publish(string, *broker.Message, ...broker.PublishOption) error {
	return errors.New("broken")
}

// A client of the user's may have no broker: then the topic is not fed.
func TestAClientWithoutABroker(t *testing.T) {
	net := rpctest.New(t)
	own := net.Broker
	net.Broker = nil
	tr := platform(net, net.Client(rpctest.GRPC), trace.BatchInterval(10*time.Millisecond), trace.Logger(slog.New(slog.DiscardHandler)))
	s := record(t, tr)
	flush := tr.(interface{ Flush(context.Context) error }).Flush
	if err := flush(t.Context()); err == nil {
		t.Error("sent to nobody")
	}
	late := record(t, tr)
	net.Broker = own
	net.Boot(tracesrv.Service())
	svc := pb.NewTraceService(trace.ServiceName, net.Client(rpctest.GRPC))
	for _, id := range []string{s.TraceId, late.TraceId} {
		rpctest.Eventually(t, "the span arrives", func() bool {
			_, err := svc.Read(context.Background(), &pb.ReadRequest{Id: id})
			return err == nil
		})
	}
	if err := tr.Stop(); err != nil {
		t.Error(err)
	}
}

// The first trace-srv is dead, the next hangs, the last takes all.
func TestOneOfSeveralCollectors(t *testing.T) {
	net, lonely := rpctest.New(t), rpctest.New(t)
	running := net.Boot(tracesrv.Service())
	hanging, err := stdnet.Listen("tcp", "127.0.0.1:0") // it never accepts
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hanging.Close() }() // the test is over
	tr := platform(lonely, lonely.Client(rpctest.GRPC), trace.CollectTimeout(3*time.Second), trace.BatchInterval(10*time.Millisecond),
		trace.Collectors([]string{"127.0.0.1:1", hanging.Addr().String(), running.Address()}))
	svc := pb.NewTraceService(trace.ServiceName, net.Client(rpctest.GRPC))
	for range 2 {
		s := record(t, tr)
		rpctest.Eventually(t, "the span arrives", func() bool {
			_, err := svc.Read(context.Background(), &pb.ReadRequest{Id: s.TraceId})
			return err == nil
		})
	}
	if err := tr.Stop(); err != nil || tr.Dropped() != 0 {
		t.Errorf("%v, %d dropped", err, tr.Dropped())
	}
}

func TestTLS(t *testing.T) {
	net := rpctest.New(t)
	running := net.Boot(tracesrv.Service())
	rpctest.Handshakes(t, running.Address(), func(t *testing.T, addr string, c *tls.Config) error {
		tr := platform(net, net.Client(rpctest.RPC), trace.Collectors([]string{addr}), trace.TLS(c), trace.CollectTimeout(time.Second),
			trace.Logger(slog.New(slog.DiscardHandler)))
		return errors.Join(tr.Collect(tr.NewSpan(nil)), tr.Stop())
	})
}
