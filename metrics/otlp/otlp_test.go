package otlp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v6/server"
	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	pb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/metrics"
	"github.com/micro/go-platform/metrics/metricstest"
	"github.com/micro/go-platform/metrics/otlp"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

// receiver is an OTLP/gRPC server that keeps the newest value of each series.
type receiver struct {
	collector.UnimplementedMetricsServiceServer
	addr string

	mu     sync.Mutex
	points map[string]metricstest.Point
	last   map[string]*pb.Metric
	header metadata.MD
}

func listen(t testing.TB, addr string) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{addr: l.Addr().String(), points: map[string]metricstest.Point{}, last: map[string]*pb.Metric{}}
	server := grpc.NewServer()
	collector.RegisterMetricsServiceServer(server, r)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil && !errors.Is(err, grpc.ErrServerStopped) { // stopped before it began
			t.Error(err)
		}
	})
	return r
}

func (r *receiver) Export(ctx context.Context, req *collector.ExportMetricsServiceRequest) (*collector.ExportMetricsServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.header, _ = metadata.FromIncomingContext(ctx)
	for _, rm := range req.ResourceMetrics {
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				r.take(m)
			}
		}
	}
	return &collector.ExportMetricsServiceResponse{}, nil
}

func (r *receiver) take(m *pb.Metric) {
	name := strings.TrimPrefix(m.Name, "ns.")
	r.last[name] = m
	for _, p := range append(m.GetSum().GetDataPoints(), m.GetGauge().GetDataPoints()...) {
		r.points[key(name, p.Attributes)] = metricstest.Point{Value: p.GetAsInt()}
	}
	for _, p := range m.GetHistogram().GetDataPoints() {
		r.points[key(name, p.Attributes)] = metricstest.Point{Value: int64(p.GetSum()), Count: int64(p.Count)}
	}
}

func key(name string, attributes []*common.KeyValue) string {
	f := metrics.Fields{}
	for _, a := range attributes {
		f[a.Key] = a.Value.GetStringValue()
	}
	return metricstest.Key(name, f)
}

func (r *receiver) read() map[string]metricstest.Point {
	r.mu.Lock()
	defer r.mu.Unlock()
	points := make(map[string]metricstest.Point, len(r.points))
	for k, p := range r.points {
		points[k] = p
	}
	return points
}

func TestOTLP(t *testing.T) {
	var r *receiver
	newMetrics := func(t testing.TB, opts ...metrics.Option) metrics.Metrics {
		r = listen(t, "127.0.0.1:0")
		own := []metrics.Option{metrics.Collectors([]string{r.addr}), metrics.BatchInterval(50 * time.Millisecond)}
		return otlp.NewMetrics(append(own, opts...)...)
	}
	metricstest.Run(t, newMetrics)
	metricstest.RunExport(t, newMetrics, metricstest.Backend{
		Read: func(testing.TB) map[string]metricstest.Point { return r.read() },
	})
}

func TestShape(t *testing.T) {
	r := listen(t, "127.0.0.1:0")
	m := otlp.NewMetrics(metrics.Collectors([]string{r.addr}), metrics.Buckets([]int64{10, 100}),
		otlp.Header("x-tenant", "a"), otlp.Header("x-zone", "b"))
	m.Counter("jobs").Decr(1)
	m.Counter("done").Incr(1)
	m.Histogram("spent_us").Record(1_500_000)
	for _, v := range []int64{10, 11, 1000} {
		m.Histogram("took").Record(v)
	}
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	if err := m.Stop(); err != nil {
		t.Fatal(err)
	}
	sum := r.last["micro.jobs"].GetSum()
	if sum == nil || sum.IsMonotonic || sum.AggregationTemporality != pb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE {
		t.Errorf("counter: %v, want a cumulative sum that may fall", sum)
	}
	if sum := r.last["micro.done"].GetSum(); sum == nil || !sum.IsMonotonic {
		t.Errorf("counter: %v, want a monotonic sum", sum)
	}
	if spent := r.last["micro.spent"]; spent.GetUnit() != "s" || spent.GetHistogram().GetDataPoints()[0].GetSum() != 1.5 {
		t.Errorf("durations: %v, want seconds", spent)
	}
	h := r.last["micro.took"].GetHistogram().GetDataPoints()
	if len(h) != 1 || len(h[0].BucketCounts) != 3 || h[0].BucketCounts[0] != 1 || h[0].BucketCounts[1] != 1 || h[0].BucketCounts[2] != 1 {
		t.Errorf("histogram: %v", h)
	}
	for name, want := range map[string]string{"x-tenant": "a", "x-zone": "b"} {
		if got := r.header.Get(name); len(got) != 1 || got[0] != want {
			t.Errorf("header %s: %v, want %s", name, got, want)
		}
	}
}

// A collector that is absent at first gets all there was, because totals travel.
func TestCollectorComesLater(t *testing.T) {
	addr := backend.Address(t)
	first := listen(t, "127.0.0.1:0")
	m := otlp.NewMetrics(metrics.Collectors([]string{addr, first.addr}), metrics.BatchInterval(20*time.Millisecond),
		metrics.Logger(slog.New(slog.DiscardHandler)))
	m.Counter("jobs").Incr(3)
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	defer m.Stop()
	arrived := func(r *receiver) func() bool {
		return func() bool { return r.read()["micro.jobs{}"].Value == 3 }
	}
	if !metricstest.Eventually(arrived(first)) {
		t.Fatal("the collector that is there got nothing")
	}
	if late := listen(t, addr); !metricstest.Eventually(arrived(late)) {
		t.Fatal("the collector that came later got nothing")
	}
}

func TestStopWithoutCollectorIsBoundedAndCounts(t *testing.T) {
	m := otlp.NewMetrics(metrics.Collectors([]string{"127.0.0.1:1"}), metrics.Logger(slog.New(slog.DiscardHandler)))
	m.Counter("jobs").Incr(3)
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	err := m.Stop()
	if !errors.Is(err, metrics.ErrLost) || !strings.HasPrefix(err.Error(), "metrics: lost 1 point: ") || m.Dropped() != 1 {
		t.Errorf("Stop: %v, Dropped %d, want a loss of 1", err, m.Dropped())
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("Stop took %v", took)
	}
}

func TestTLS(t *testing.T) {
	r := listen(t, "127.0.0.1:0")
	rpctest.Handshakes(t, r.addr, func(_ *testing.T, addr string, c *tls.Config) error {
		m := otlp.NewMetrics(otlp.TLS(c), metrics.Collectors([]string{addr}), metrics.Logger(slog.New(slog.DiscardHandler)))
		m.Counter("jobs").Incr(1)
		return m.Stop()
	})
}

// What the wrappers record has the names of OpenTelemetry's conventions.
func TestConventions(t *testing.T) {
	r := listen(t, "127.0.0.1:0")
	m := otlp.NewMetrics(metrics.Collectors([]string{r.addr}), metrics.Namespace("ns"), metrics.WithFields(metrics.Fields{"zone": "a"}))
	fail := errors.New("x")
	handle := metrics.HandlerWrapper(m)(func(context.Context, server.Request, any) error { return fail })
	listenTo := metrics.SubscriberWrapper(m)(func(context.Context, server.Message) error { return nil })
	if err := handle(t.Context(), request{}, nil); err == nil {
		t.Fatal("no error")
	}
	fail = context.DeadlineExceeded
	if err := handle(t.Context(), request{}, nil); err == nil {
		t.Fatal("no error")
	}
	if err := listenTo(t.Context(), message{}); err != nil {
		t.Fatal(err)
	}
	m.Histogram("client.duration_us").Record(1_000_000) // a user's own
	if err := m.Stop(); err != nil {
		t.Fatal(err)
	}
	got := r.read()
	for _, want := range []string{
		"rpc.server.call.duration{error.type=_OTHER,rpc.method=Shop/Buy,rpc.system.name=go-micro,service=shop,zone=a}",
		"rpc.server.call.duration{error.type=timeout,rpc.method=Shop/Buy,rpc.system.name=go-micro,service=shop,zone=a}",
		"messaging.process.duration{messaging.destination.name=orders,messaging.operation.name=process,messaging.system=go-micro,zone=a}",
		"client.duration{zone=a}",
		"server.calls{method=Shop.Buy,service=shop,status=error,zone=a}",
	} {
		if _, ok := got[want]; !ok {
			t.Errorf("no %s in %v", want, slices.Sorted(maps.Keys(got)))
		}
	}
	if unit := r.last["rpc.server.call.duration"].GetUnit(); unit != "s" {
		t.Errorf("unit %q", unit)
	}
}

type request struct{ server.Request }

func (request) Service() string  { return "shop" }
func (request) Endpoint() string { return "Shop.Buy" }

type message struct{ server.Message }

func (message) Topic() string { return "orders" }
