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

func ours(b *testing.B) (client.Client, func()) {
	clients, handlers, stop := ourWrappers(b)
	handler := server.HandlerFunc(noop)
	for _, wrap := range handlers {
		handler = wrap(handler)
	}
	var c client.Client = &wire{handler: handler}
	for _, wrap := range clients {
		c = wrap(c)
	}
	return c, stop
}

// ourWrappers are log, metrics, trace (sampled) and monitor with their default
// plugins, innermost first. Nobody listens on the other side: spans are dropped
// once the queue is full.
func ourWrappers(b *testing.B) ([]client.Wrapper, []server.HandlerWrapper, func()) {
	b.Helper()
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
	return []client.Wrapper{
			monitor.ReadyWrapper(mon), monitor.ClientWrapper(mon), trace.ClientWrapper(t, self), metrics.ClientWrapper(m), log.ClientWrapper(l),
		}, []server.HandlerWrapper{
			log.HandlerWrapper(l), monitor.HandlerWrapper(mon), metrics.HandlerWrapper(m), trace.HandlerWrapper(t, self),
		}, func() {
			_, _, _, _ = t.Stop(), mon.Stop(), m.Stop(), l.Stop() // what they lost went nowhere anyway
		}
}

func usual(*testing.B) (client.Client, func()) {
	u, stop := newUsual()
	return u.client(&wire{handler: u.handler(noop)}), stop
}

// usualStack is OpenTelemetry, Prometheus, a breaker and a limiter, wired by
// hand as such services do it.
type usualStack struct {
	tracer    oteltrace.Tracer
	calls     *prometheus.CounterVec
	durations *prometheus.HistogramVec
}

func newUsual() (*usualStack, func()) {
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(discardExporter{}))
	return &usualStack{
		tracer:    provider.Tracer("shop"),
		calls:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "calls"}, []string{"service", "method", "status"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "durations"}, []string{"service", "method"}),
	}, func() { _ = provider.Shutdown(context.Background()) } // discards anyway
}

func (u *usualStack) observe(service, method string, begin time.Time, err error) {
	status := "success"
	if err != nil {
		status = "error"
	}
	u.calls.WithLabelValues(service, method, status).Inc()
	u.durations.WithLabelValues(service, method).Observe(time.Since(begin).Seconds())
}

func (u *usualStack) handler(next server.HandlerFunc) server.HandlerFunc {
	return func(ctx context.Context, req server.Request, rsp any) error {
		md, _ := metadata.FromContext(ctx)
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier(md))
		ctx, span := u.tracer.Start(ctx, req.Endpoint(), oteltrace.WithSpanKind(oteltrace.SpanKindServer))
		defer span.End()
		begin := time.Now()
		err := next(ctx, req, rsp)
		u.observe(req.Service(), req.Endpoint(), begin, err)
		return err
	}
}

func (u *usualStack) client(c client.Client) client.Client {
	return &usualClient{
		Client: c, usualStack: u,
		breaker: gobreaker.NewCircuitBreaker[any](gobreaker.Settings{}), limiter: rate.NewLimiter(rate.Inf, 1),
	}
}

type usualClient struct {
	client.Client
	*usualStack
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
