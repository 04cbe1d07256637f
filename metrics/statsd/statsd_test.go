package statsd_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/leak"
	"github.com/micro/go-platform/metrics"
	wire "github.com/micro/go-platform/metrics/internal/statsd"
	"github.com/micro/go-platform/metrics/internal/statsd/statsdtest"
	"github.com/micro/go-platform/metrics/metricstest"
	"github.com/micro/go-platform/metrics/statsd"
	"go.uber.org/goleak"
)

// go-micro starts a goroutine when it is imported.
func TestMain(m *testing.M) { leak.Main(m, goleak.IgnoreCurrent()) }

func harness(t *testing.T, d wire.Dialect, own ...metrics.Option) metricstest.Harness {
	server := statsdtest.Listen(t, "127.0.0.1:0")
	return metricstest.Harness{
		New: func(_ *testing.T, opts ...metrics.Option) metrics.Metrics {
			own := append(own, metrics.Collectors([]string{server.Addr}), metrics.BatchInterval(20*time.Millisecond))
			return statsd.NewMetrics(append(own, opts...)...)
		},
		Read:     func(t *testing.T) map[string]metricstest.Point { return server.Points(t, d) },
		Unsigned: d == wire.Plain,
	}
}

func TestPlain(t *testing.T) {
	metricstest.Run(t, func(t *testing.T) metricstest.Harness {
		h := harness(t, wire.Plain)
		h.Key = folded
		return h
	})
}

// folded is how plain statsd names a series.
func folded(id string, f metrics.Fields) string {
	for _, name := range slices.Sorted(maps.Keys(f)) {
		id += "." + name + "_" + f[name]
	}
	return id
}

func TestDogStatsD(t *testing.T) {
	metricstest.Run(t, func(t *testing.T) metricstest.Harness {
		return harness(t, wire.Dog, statsd.DogStatsD())
	})
}

func TestLines(t *testing.T) {
	for _, c := range []struct {
		name string
		opts []metrics.Option
		want string
	}{
		{"statsd", nil, "micro.jobs.host_a_b.kind_x:3|c\nmicro.level:0|g:-2|g\nmicro.took:5|ms:6|ms"},
		{"dogstatsd", []metrics.Option{statsd.DogStatsD()}, "micro.jobs:3|c|#host:a.b,kind:x\nmicro.level:-2|g\nmicro.took:5|ms\nmicro.took:6|ms"},
	} {
		server := statsdtest.Listen(t, "127.0.0.1:0")
		m := statsd.NewMetrics(append(c.opts, metrics.Collectors([]string{server.Addr}))...)
		if m.String() != c.name {
			t.Errorf("String() = %q, want %q", m.String(), c.name)
		}
		m.Counter("jobs").WithFields(metrics.Fields{"kind": "x", "host": "a.b"}).Incr(3)
		m.Gauge("level").Set(-2)
		m.Histogram("took").Record(5)
		m.Histogram("took").Record(6)
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		if err := m.Stop(); err != nil {
			t.Fatal(err)
		}
		if !metricstest.Eventually(func() bool { return len(server.Packets()) == 1 }) || server.Packets()[0] != c.want {
			t.Errorf("%s: got %q, want %q", c.name, server.Packets(), c.want)
		}
	}
}
