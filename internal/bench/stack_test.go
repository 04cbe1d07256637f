package bench

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"
	"go-micro.dev/v6/client"
	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"
	"go-micro.dev/v6/server"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/log"
	logdiscard "github.com/micro/go-platform/log/discard"
	"github.com/micro/go-platform/metrics"
	"github.com/micro/go-platform/monitor"
	"github.com/micro/go-platform/router"
	"github.com/micro/go-platform/trace"
)

// The whole path of a call around nothing: client wrappers, what go-micro's
// client does by itself (options, selector, call wrappers), a wire that hands
// over the metadata, handler wrappers, a handler that returns nil.

// The service that rules of startedAuth let its account call.
const (
	calledService = "shop.service-89"
	calledMethod  = "Orders.Place"
)

type request struct{ client.Request }

func (request) Service() string  { return calledService }
func (request) Method() string   { return calledMethod }
func (request) Endpoint() string { return calledMethod }
func (request) Stream() bool     { return false }

type serverRequest struct{ server.Request }

func (serverRequest) Service() string           { return calledService }
func (serverRequest) Method() string            { return calledMethod }
func (serverRequest) Endpoint() string          { return calledMethod }
func (serverRequest) Stream() bool              { return false }
func (serverRequest) Header() map[string]string { return nil }

// wire calls the handler with the caller's metadata in a new context, as the
// transport does.
func wire(handler server.HandlerFunc) client.CallFunc {
	return func(ctx context.Context, _ *registry.Node, _ client.Request, rsp any, _ client.CallOptions) error {
		md, _ := metadata.FromContext(ctx)
		return handler(metadata.NewContext(context.Background(), md), serverRequest{}, rsp)
	}
}

func noop(context.Context, server.Request, any) error { return nil }

// incoming is what a call typically carries already.
func incoming() context.Context {
	return metadata.NewContext(context.Background(), metadata.Metadata{
		"x-request-id": "8d2c1f6e", "authorization": "Bearer abc", "user-agent": "shop/1", "x-tenant": "acme",
	})
}

// stacks are what is compared: clients that call a handler through nothing, our
// wrappers and the usual ones.
func stacks(tb testing.TB) (names []string, calls []func()) {
	tb.Helper()
	node := &registry.Node{}
	fixed := fixedSelector{next: func() (*registry.Node, error) { return node, nil }}
	usual := newUsual(tb)
	for _, c := range []struct {
		name   string
		client client.Client
	}{
		{"none", &clientCore{selector: fixed, call: wire(noop)}},
		{"ours", ourStack(tb)},
		{"usual", usual.client(&clientCore{selector: fixed, call: wire(usual.handler(noop))})},
	} {
		ctx, req := incoming(), request{}
		names = append(names, c.name)
		calls = append(calls, func() {
			if err := c.client.Call(ctx, req, nil); err != nil {
				tb.Fatal(err)
			}
		})
	}
	return names, calls
}

// BenchmarkStack tells what wrappers add to a call: nanoseconds as the median of
// many short turns, so that all see the same machine, and allocations.
func BenchmarkStack(b *testing.B) {
	const turn = 500
	names, calls := stacks(b)
	for i, call := range calls { // for profiles
		b.Run(names[i], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				call()
			}
		})
	}
	b.Run("turns", func(b *testing.B) {
		took := make([][]time.Duration, len(calls))
		for b.Loop() {
			for i, call := range calls {
				begun := time.Now()
				for range turn {
					call()
				}
				took[i] = append(took[i], time.Since(begun)/turn)
			}
		}
		none, allocs := median(took[0]), testing.AllocsPerRun(turn, calls[0])
		for i := 1; i < len(calls); i++ {
			b.ReportMetric(float64(median(took[i])-none), "ns-"+names[i]+"-adds")
			b.ReportMetric(testing.AllocsPerRun(turn, calls[i])-allocs, "allocs-"+names[i]+"-adds")
		}
		b.ReportMetric(0, "ns/op")
	})
}

// All wrappers of a call together stay within their budget of allocations.
func TestStackAllocations(t *testing.T) {
	const budget, runs = 18, 2000 // 15 when this was written
	_, calls := stacks(t)
	none, ours := testing.AllocsPerRun(runs, calls[0]), testing.AllocsPerRun(runs, calls[1])
	if ours-none > budget {
		t.Errorf("our wrappers add %v allocations to a call, more than %d", ours-none, budget)
	}
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// ourStack is all our wrappers around a call that does nothing.
func ourStack(tb testing.TB) client.Client {
	tb.Helper()
	clients, handlers, r := ourWrappers(tb, routerNodes(tb, calledService, 3))
	handler := server.HandlerFunc(noop)
	for _, wrap := range handlers {
		handler = wrap(handler)
	}
	var c client.Client = &clientCore{selector: r, call: wire(handler)}
	for _, wrap := range clients {
		c = wrap(c)
	}
	return c
}

// ourWrappers are log, metrics, trace (sampled), monitor, auth (a verified token
// and 1000 rules) and router with their default plugins, innermost first, in the
// order of the root README. Nobody listens to what they tell: spans are dropped
// once the queue is full.
func ourWrappers(tb testing.TB, reg registry.Registry) ([]client.Wrapper, []server.HandlerWrapper, router.Router) {
	tb.Helper()
	self, quiet := &registry.Service{Name: "shop.gateway"}, slog.New(slog.DiscardHandler)
	a, _, _ := startedAuth(tb)
	l := log.NewLog(log.WithOutput(logdiscard.NewOutput()))
	m := metrics.NewMetrics(metrics.Collectors([]string{"127.0.0.1:9"}), metrics.Logger(quiet))
	t := trace.NewTrace(trace.Service(self), trace.Logger(quiet))
	mon := monitor.NewMonitor(monitor.Interval(time.Second), monitor.Logger(quiet))
	r := router.NewRouter(selector.Registry(reg), router.Standalone(), router.NotReady(mon.NotReady), router.Logger(quiet))
	for _, start := range []func() error{l.Start, m.Start, r.Start} {
		if err := start(); err != nil {
			tb.Fatal(err)
		}
	}
	tb.Cleanup(func() { // what they lost went nowhere anyway
		_, _, _, _, _ = r.Stop(), t.Stop(), mon.Stop(), m.Stop(), l.Stop()
	})
	return []client.Wrapper{
			router.ClientWrapper(r), auth.ClientWrapper(a), monitor.ClientWrapper(mon),
			trace.ClientWrapper(t, self), metrics.ClientWrapper(m), log.ClientWrapper(l),
		}, []server.HandlerWrapper{
			auth.HandlerWrapper(a), log.HandlerWrapper(l), monitor.HandlerWrapper(mon),
			metrics.HandlerWrapper(m), trace.HandlerWrapper(t, self),
		}, r
}

// usualStack is OpenTelemetry, Prometheus, a breaker and a limiter, wired by
// hand as such services do it.
type usualStack struct {
	tracer    oteltrace.Tracer
	calls     *prometheus.CounterVec
	durations *prometheus.HistogramVec
}

func newUsual(tb testing.TB) *usualStack {
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(discardExporter{}))
	tb.Cleanup(func() { _ = provider.Shutdown(context.Background()) }) // discards anyway
	return &usualStack{
		tracer:    provider.Tracer("shop"),
		calls:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "calls"}, []string{"service", "method", "status"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "durations"}, []string{"service", "method"}),
	}
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
