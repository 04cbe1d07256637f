package metrics_test

import (
	"context"
	"testing"
	"time"

	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/metrics"
	"github.com/micro/go-platform/metrics/discard"
)

// hot are the ways to record that must not allocate.
// unsent is a plugin that sends nothing before it is stopped, when the test ends.
func unsent(tb testing.TB, opts ...metrics.Option) metrics.Metrics {
	m := metrics.NewMetrics(append([]metrics.Option{metrics.BatchInterval(time.Hour)}, opts...)...)
	tb.Cleanup(func() { _ = m.Stop() }) // what it loses is of no interest
	return m
}

func hot(m metrics.Metrics) map[string]func() {
	held := m.Counter("held").WithFields(metrics.Fields{"service": "orders", "method": "Create"})
	gauge, histogram := m.Gauge("held"), m.Histogram("held")
	vec := metrics.NewCounterVec(m, "vec", "service", "method")
	fields := metrics.Fields{"service": "orders", "method": "Create"}
	return map[string]func(){
		"held counter":                 func() { held.Incr(1) },
		"held gauge":                   func() { gauge.Set(1) },
		"held histogram":               func() { histogram.Record(17) },
		"vec with 2 fields":            func() { vec.With("orders", "Create").Incr(1) },
		"counter by id":                func() { m.Counter("id").Incr(1) },
		"by id with a held fields map": func() { m.Counter("id").WithFields(fields).Incr(1) },
	}
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	for name, fn := range hot(unsent(t)) {
		fn()
		if n := testing.AllocsPerRun(1000, fn); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestWrappersAllocateLittle(t *testing.T) {
	for name, fn := range wrapped(unsent(t)) {
		fn()
		if n := testing.AllocsPerRun(1000, fn); n > 2 {
			t.Errorf("%s: %v allocations, want at most 2", name, n)
		}
	}
}

// wrapped are calls through the wrappers around what does nothing.
func wrapped(m metrics.Metrics) map[string]func() {
	ctx := context.Background()
	c := metrics.ClientWrapper(m)(&fakeClient{})
	handler := metrics.HandlerWrapper(m)(func(context.Context, server.Request, any) error { return nil })
	subscriber := metrics.SubscriberWrapper(m)(func(context.Context, server.Message) error { return nil })
	req, handled := &fakeRequest{service: "orders", endpoint: "Orders.Create"}, &serverRequest{service: "orders", endpoint: "Orders.Create"}
	msg, received := &fakeMessage{topic: "news"}, &serverMessage{topic: "news"}
	return map[string]func(){
		"client call": func() { _ = c.Call(ctx, req, nil) },      // what it costs is looked at
		"publish":     func() { _ = c.Publish(ctx, msg) },        // what it costs is looked at
		"handler":     func() { _ = handler(ctx, handled, nil) }, // what it costs is looked at
		"subscriber":  func() { _ = subscriber(ctx, received) },  // what it costs is looked at
	}
}

func bench(b *testing.B, all map[string]func()) {
	for name, fn := range all {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				fn()
			}
		})
	}
}

func BenchmarkRecord(b *testing.B)   { bench(b, hot(unsent(b))) }
func BenchmarkWrappers(b *testing.B) { bench(b, wrapped(unsent(b))) }

// BenchmarkDiscard is the floor: the calls without the work.
func BenchmarkDiscard(b *testing.B) { bench(b, wrapped(discard.NewMetrics())) }

// BenchmarkNewFields is what a map written at the call costs: the map, which an
// interface's method makes escape.
func BenchmarkNewFields(b *testing.B) {
	m := unsent(b)
	b.ReportAllocs()
	for b.Loop() {
		m.Counter("id").WithFields(metrics.Fields{"service": "orders", "method": "Create"}).Incr(1)
	}
}

// BenchmarkFlood is a look-up beyond MaxSeries.
func BenchmarkFlood(b *testing.B) {
	m := unsent(b, metrics.MaxSeries(1))
	m.Counter("id").WithFields(metrics.Fields{"user": "0"})
	fields := metrics.Fields{"user": "1"}
	b.ReportAllocs()
	for b.Loop() {
		m.Counter("id").WithFields(fields).Incr(1)
	}
}
