package bench_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"
	"go-micro.dev/v5/client"
	"go-micro.dev/v5/metadata"
	"go-micro.dev/v5/registry"
	"go-micro.dev/v5/server"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"github.com/micro/go-platform/log"
	logdiscard "github.com/micro/go-platform/log/discard"
	"github.com/micro/go-platform/metrics"
	"github.com/micro/go-platform/monitor"
	"github.com/micro/go-platform/trace"
)

// The whole path of a call around nothing: client wrappers, a wire that hands
// over the metadata, handler wrappers, a handler that returns nil.

type request struct{ client.Request }

func (request) Service() string  { return "shop.orders" }
func (request) Method() string   { return "Orders.Place" }
func (request) Endpoint() string { return "Orders.Place" }
func (request) Stream() bool     { return false }

type serverRequest struct{ server.Request }

func (serverRequest) Service() string           { return "shop.orders" }
func (serverRequest) Method() string            { return "Orders.Place" }
func (serverRequest) Endpoint() string          { return "Orders.Place" }
func (serverRequest) Stream() bool              { return false }
func (serverRequest) Header() map[string]string { return nil }

// wire is a client that calls the handler with the caller's metadata in a new
// context, as the transport does.
type wire struct {
	client.Client
	handler server.HandlerFunc
}

func (w *wire) Call(ctx context.Context, _ client.Request, rsp any, _ ...client.CallOption) error {
	md, _ := metadata.FromContext(ctx)
	return w.handler(metadata.NewContext(context.Background(), md), serverRequest{}, rsp)
}

func (*wire) String() string { return "wire" }

func noop(context.Context, server.Request, any) error { return nil }

// incoming is what a call typically carries already.
func incoming() context.Context {
	return metadata.NewContext(context.Background(), metadata.Metadata{
		"x-request-id": "8d2c1f6e", "authorization": "Bearer abc", "user-agent": "shop/1", "x-tenant": "acme",
	})
}

func run(b *testing.B, c client.Client) {
	b.Helper()
	ctx, req := incoming(), request{}
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Call(ctx, req, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStack(b *testing.B) {
	b.Run("none", func(b *testing.B) { run(b, &wire{handler: noop}) })
	b.Run("ours", func(b *testing.B) {
		c, stop := ours(b)
		defer stop()
		run(b, c)
	})
	b.Run("usual", func(b *testing.B) {
		c, stop := usual(b)
		defer stop()
		run(b, c)
	})
}

// ours is log, metrics, trace (sampled) and monitor with their default plugins.
// Nobody listens on the other side: spans are dropped once the queue is full.
func ours(b *testing.B) (client.Client, func()) {
	self, quiet := &registry.Service{Name: "shop.gateway"}, slog.New(slog.DiscardHandler)
	l := log.NewLog(log.WithOutput(logdiscard.NewOutput()))
	m := metrics.NewMetrics(metrics.Collectors([]string{"127.0.0.1:9"}), metrics.Logger(quiet))
	t := trace.NewTrace(trace.Service(self), trace.Logger(quiet))
	mon := monitor.NewMonitor(monitor.Interval(time.Second), monitor.Logger(quiet))
	for _, start := range []func() error{l.Start, m.Start} {
		if err := start(); err != nil {
			b.Fatal(err)
		}
	}
	handler := server.HandlerFunc(noop)
	for _, wrap := range []server.HandlerWrapper{
		log.HandlerWrapper(l), monitor.HandlerWrapper(mon), metrics.HandlerWrapper(m), trace.HandlerWrapper(t, self),
	} {
		handler = wrap(handler)
	}
	var c client.Client = &wire{handler: handler}
	for _, wrap := range []client.Wrapper{
		monitor.ReadyWrapper(mon), monitor.ClientWrapper(mon), trace.ClientWrapper(t, self), metrics.ClientWrapper(m), log.ClientWrapper(l),
	} {
		c = wrap(c)
	}
	return c, func() {
		_, _, _, _ = t.Stop(), mon.Stop(), m.Stop(), l.Stop() // what they lost went nowhere anyway
	}
}

// usual is OpenTelemetry, Prometheus, a breaker and a limiter, wired by hand as
// such services do it.
func usual(*testing.B) (client.Client, func()) {
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(discardExporter{}))
	tracer := provider.Tracer("shop")
	calls := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "calls"}, []string{"service", "method", "status"})
	durations := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "durations"}, []string{"service", "method"})
	observe := func(service, method string, begin time.Time, err error) {
		status := "success"
		if err != nil {
			status = "error"
		}
		calls.WithLabelValues(service, method, status).Inc()
		durations.WithLabelValues(service, method).Observe(time.Since(begin).Seconds())
	}
	handler := func(ctx context.Context, req server.Request, rsp any) error {
		md, _ := metadata.FromContext(ctx)
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier(md))
		ctx, span := tracer.Start(ctx, req.Endpoint(), oteltrace.WithSpanKind(oteltrace.SpanKindServer))
		begin := time.Now()
		err := noop(ctx, req, rsp)
		observe(req.Service(), req.Endpoint(), begin, err)
		span.End()
		return err
	}
	c := &usualClient{
		Client: &wire{handler: handler}, tracer: tracer, observe: observe,
		breaker: gobreaker.NewCircuitBreaker[any](gobreaker.Settings{}), limiter: rate.NewLimiter(rate.Inf, 1),
	}
	return c, func() { _ = provider.Shutdown(context.Background()) }
}

type usualClient struct {
	client.Client
	tracer  oteltrace.Tracer
	observe func(service, method string, begin time.Time, err error)
	breaker *gobreaker.CircuitBreaker[any]
	limiter *rate.Limiter
}

func (c *usualClient) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	if !c.limiter.Allow() {
		return gobreaker.ErrTooManyRequests
	}
	ctx, span := c.tracer.Start(ctx, req.Endpoint(), oteltrace.WithSpanKind(oteltrace.SpanKindClient))
	defer span.End()
	md, _ := metadata.FromContext(ctx)
	propagation.TraceContext{}.Inject(ctx, propagation.MapCarrier(md))
	ctx = metadata.NewContext(ctx, md)
	begin := time.Now()
	_, err := c.breaker.Execute(func() (any, error) { return nil, c.Client.Call(ctx, req, rsp, opts...) })
	c.observe(req.Service(), req.Endpoint(), begin, err)
	return err
}

type discardExporter struct{}

func (discardExporter) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (discardExporter) Shutdown(context.Context) error                             { return nil }
