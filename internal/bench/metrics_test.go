package bench

import (
	"net"
	"testing"

	"github.com/DataDog/datadog-go/v5/statsd"
	vm "github.com/VictoriaMetrics/metrics"
	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/micro/go-platform/metrics"
)

// sink is a UDP port nobody reads, so that senders have somewhere to send.
func sink(b *testing.B) string {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() }) // the test is over
	return conn.LocalAddr().String()
}

// ours is the default plugin, started.
func ours(b *testing.B) metrics.Metrics {
	m := metrics.NewMetrics(metrics.Collectors([]string{sink(b)}))
	if err := m.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = m.Stop() }) // the test is over
	return m
}

func run(b *testing.B, name string, fn func()) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			fn()
		}
	})
}

// BenchmarkMetricsHeld is a counter whose labels were chosen before.
func BenchmarkMetricsHeld(b *testing.B) {
	held := ours(b).Counter("calls").WithFields(metrics.Fields{"service": "orders", "method": "Create"})
	run(b, "go-platform", func() { held.Incr(1) })
	curried := prom.NewCounterVec(prom.CounterOpts{Name: "calls"}, []string{"service", "method"}).WithLabelValues("orders", "Create")
	run(b, "prometheus", func() { curried.Inc() })
	run(b, "prometheus Add", func() { curried.Add(1) })
	counter := vm.NewSet().NewCounter(`calls{service="orders",method="Create"}`)
	run(b, "VictoriaMetrics", func() { counter.Inc() })
}

// BenchmarkMetricsLookUp is a counter by its name and two labels.
func BenchmarkMetricsLookUp(b *testing.B) {
	m := ours(b)
	vec := metrics.NewCounterVec(m, "calls", "service", "method")
	run(b, "go-platform Vec", func() { vec.With("orders", "Create").Incr(1) })
	held := metrics.Fields{"service": "orders", "method": "Create"}
	run(b, "go-platform id and held Fields", func() { m.Counter("calls").WithFields(held).Incr(1) })
	run(b, "go-platform id and new Fields", func() {
		m.Counter("calls").WithFields(metrics.Fields{"service": "orders", "method": "Create"}).Incr(1)
	})
	set := vm.NewSet()
	run(b, "VictoriaMetrics", func() { set.GetOrCreateCounter(`calls{service="orders",method="Create"}`).Inc() })
	promVec := prom.NewCounterVec(prom.CounterOpts{Name: "calls"}, []string{"service", "method"})
	run(b, "prometheus", func() { promVec.WithLabelValues("orders", "Create").Inc() })
	dog, err := statsd.New(sink(b))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = dog.Close() }) // the test is over
	tags := []string{"service:orders", "method:Create"}
	run(b, "datadog-go held tags", func() { _ = dog.Count("calls", 1, tags, 1) }) // what it costs is looked at
}
