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

// suite runs all of metricstest over plugins that send to a server each.
func suite(t *testing.T, d wire.Dialect, b metricstest.Backend, own ...metrics.Option) {
	var server *statsdtest.Server
	newMetrics := func(t testing.TB, opts ...metrics.Option) metrics.Metrics {
		server = statsdtest.Listen(t, "127.0.0.1:0")
		own := append(own[:len(own):len(own)], metrics.Collectors([]string{server.Addr}), metrics.BatchInterval(200*time.Millisecond)) // a busy machine misses shorter ones
		return statsd.NewMetrics(append(own, opts...)...)
	}
	b.Read = func(t testing.TB) map[string]metricstest.Point { return server.Points(t, d) }
	metricstest.Run(t, newMetrics)
	metricstest.RunExport(t, newMetrics, b)
}

func TestPlain(t *testing.T) {
	suite(t, wire.Plain, metricstest.Backend{Key: folded, Unsigned: true})
}

// folded is how plain statsd names a series.
func folded(id string, f metrics.Fields) string {
	for _, name := range slices.Sorted(maps.Keys(f)) {
		id += "." + name + "_" + f[name]
	}
	return id
}

func TestDogStatsD(t *testing.T) {
	suite(t, wire.Dog, metricstest.Backend{}, statsd.DogStatsD())
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
