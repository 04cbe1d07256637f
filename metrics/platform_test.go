package metrics_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micro/go-platform/metrics"
	"github.com/micro/go-platform/metrics/internal/statsd"
	"github.com/micro/go-platform/metrics/internal/statsd/statsdtest"
	"github.com/micro/go-platform/metrics/metricstest"
)

func TestTelegraf(t *testing.T) {
	var server *statsdtest.Server
	newMetrics := func(t testing.TB, opts ...metrics.Option) metrics.Metrics {
		server = statsdtest.Listen(t, "127.0.0.1:0")
		own := []metrics.Option{metrics.Collectors([]string{server.Addr}), metrics.BatchInterval(200 * time.Millisecond)} // a busy machine misses shorter ones
		return metrics.NewMetrics(append(own, opts...)...)
	}
	metricstest.Run(t, newMetrics)
	metricstest.RunExport(t, newMetrics, metricstest.Backend{
		Read:     func(t testing.TB) map[string]metricstest.Point { return server.Points(t, statsd.Telegraf) },
		Unsigned: true,
	})
}

func TestDatagramGolden(t *testing.T) {
	server := statsdtest.Listen(t, "127.0.0.1:0")
	m := metrics.NewMetrics(metrics.Collectors([]string{server.Addr}), metrics.WithFields(metrics.Fields{"host": "h 1"}))
	if m.String() != "telegraf" {
		t.Errorf("String() = %q", m.String())
	}
	m.Counter("jobs").WithFields(metrics.Fields{"kind": "a:b", "dc": "x"}).Incr(3)
	m.Counter("debt").Decr(2)
	m.Gauge("level").Set(-7)
	m.Histogram("took").Record(5)
	m.Histogram("took").Record(6)
	m.Histogram("spent_us").Record(1500)
	startStop(t, m)
	want := "micro.jobs,dc=x,host=h_1,kind=a_b:3|c\nmicro.debt,host=h_1:-2|c\nmicro.level,host=h_1:0|g:-7|g\nmicro.took,host=h_1:5|ms:6|ms\nmicro.spent,host=h_1:1.5|ms"
	if !metricstest.Eventually(func() bool { return len(server.Packets()) == 1 }) || server.Packets()[0] != want {
		t.Errorf("got %q, want %q", server.Packets(), want)
	}
}

func startStop(t *testing.T, m metrics.Metrics) {
	t.Helper()
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	if err := m.Stop(); err != nil {
		t.Fatal(err)
	}
}

// running is a started plugin with a short interval and its server.
func running(t *testing.T, opts ...metrics.Option) (metrics.Metrics, *statsdtest.Server) {
	t.Helper()
	server := statsdtest.Listen(t, "127.0.0.1:0")
	own := []metrics.Option{metrics.Collectors([]string{server.Addr}), metrics.BatchInterval(10 * time.Millisecond)}
	m := metrics.NewMetrics(append(own, opts...)...)
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	return m, server
}

// contains counts the lines that were received.
func contains(s *statsdtest.Server, line string) (n int) {
	for got := range strings.SplitSeq(strings.Join(s.Packets(), "\n"), "\n") {
		if got == line {
			n++
		}
	}
	return n
}

func TestGaugeIsRepeatedUntilReset(t *testing.T) {
	m, server := running(t)
	m.Gauge("level").Set(5)
	if !metricstest.Eventually(func() bool { return contains(server, "micro.level:5|g") > 2 }) {
		t.Fatalf("a gauge is not repeated: %q", server.Packets())
	}
	m.Gauge("level").Reset()
	m.Gauge("level").Reset()
	m.Counter("after").Incr(1)
	if !metricstest.Eventually(func() bool { return contains(server, "micro.after:1|c") == 1 }) {
		t.Fatal("nothing was sent")
	}
	if err := m.Stop(); err != nil {
		t.Fatal(err)
	}
	if n := contains(server, "micro.level:0|g"); n > 1 {
		t.Errorf("0 was sent %d times after Reset", n)
	}
	if !metricstest.Eventually(func() bool { return contains(server, "micro.level:0|g") == 1 }) {
		t.Errorf("0 was not sent after Reset: %q", server.Packets())
	}
}

func TestResetForgetsWhatWasNotSent(t *testing.T) {
	server := statsdtest.Listen(t, "127.0.0.1:0")
	m := metrics.NewMetrics(metrics.Collectors([]string{server.Addr}))
	m.Counter("c").Incr(5)
	m.Counter("c").Reset()
	m.Histogram("h").Record(5)
	m.Histogram("h").Reset()
	m.Gauge("g").Reset()
	m.Counter("end").Incr(1)
	startStop(t, m)
	if !metricstest.Eventually(func() bool { return len(server.Packets()) == 1 }) || server.Packets()[0] != "micro.end:1|c" {
		t.Errorf("got %q", server.Packets())
	}
}

func TestIdleSeriesSendNothing(t *testing.T) {
	m, server := running(t)
	m.Counter("once").Incr(1)
	for i := range 5 {
		m.Counter("tick").Incr(1)
		if !metricstest.Eventually(func() bool { return contains(server, "micro.tick:1|c") == i+1 }) {
			t.Fatalf("tick %d did not arrive", i)
		}
	}
	if err := m.Stop(); err != nil {
		t.Fatal(err)
	}
	if n := contains(server, "micro.once:1|c"); n != 1 {
		t.Errorf("sent %d times, want once", n)
	}
}

type dropper interface{ Dropped() uint64 }

func TestUseAfterStopIsCounted(t *testing.T) {
	m, _ := running(t)
	m.Gauge("g").Set(1)
	if err := m.Stop(); err != nil {
		t.Fatal(err)
	}
	if n := m.(dropper).Dropped(); n != 0 {
		t.Errorf("%d dropped before any use", n)
	}
	m.Counter("c").Incr(1)
	m.Gauge("g").Set(2)
	m.Histogram("h").Record(3)
	if n := m.(dropper).Dropped(); n != 3 {
		t.Errorf("Dropped() = %d after three series were updated in vain", n)
	}
}

func TestSamplesAreBounded(t *testing.T) {
	m, server := running(t, metrics.Samples(64), metrics.BatchInterval(time.Hour), metrics.Namespace("ns"))
	const n = 100_000
	for i := range n {
		m.Histogram("took").Record(int64(i % 100))
	}
	if err := m.Stop(); err != nil {
		t.Fatal(err)
	}
	var p metricstest.Point
	metricstest.Eventually(func() bool { p = server.Points(t, statsd.Telegraf)["took{}"]; return p.Count > 0 })
	if p.Count < n-2*n/64 || p.Count > n+2*n/64 {
		t.Errorf("the samples stand for %d, want about %d", p.Count, n)
	}
	if mean := p.Value / p.Count; mean < 25 || mean > 75 {
		t.Errorf("the mean is %d, want about 50", mean)
	}
	if packets := server.Packets(); len(packets) > 2 {
		t.Errorf("%d datagrams for 64 samples", len(packets))
	}
}

// An id may come from input as well: it must not take memory without bound,
// nor may enormous names.
func TestFloodOfIdsIsBounded(t *testing.T) {
	r := metrics.NewStore(metrics.StoreConfig{})
	for i := range 30_000 {
		r.Counter(fmt.Sprint("id", i)).Incr(1)
	}
	series, total := 0, int64(0)
	r.Collect(func(s *metrics.Series) {
		v, _ := s.Value()
		series, total = series+1, total+v
	})
	if series > 10_001 || total != 30_000 || r.Overflowed() == 0 {
		t.Errorf("%d series hold %d updates, %d overflowed", series, total, r.Overflowed())
	}
}

func TestInitAfterUse(t *testing.T) {
	m := metrics.NewMetrics(metrics.WithFields(metrics.Fields{"a": "b"}))
	m.Counter("c")
	for name, opt := range map[string]metrics.Option{
		"WithFields": metrics.WithFields(metrics.Fields{"k": "v"}),
		"MaxSeries":  metrics.MaxSeries(3),
	} {
		if err := m.Init(opt); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want an error that names it", name, err)
		}
	}
	if err := m.Init(metrics.Namespace("x"), metrics.BatchInterval(time.Second)); err != nil {
		t.Error(err)
	}
	if err := m.Stop(); err != nil {
		t.Error(err)
	}
}

func TestContext(t *testing.T) {
	if _, ok := metrics.FromContext(context.Background()); ok {
		t.Error("metrics in an empty context")
	}
	m := metrics.NewMetrics()
	if got, ok := metrics.FromContext(metrics.NewContext(context.Background(), m)); !ok || got != m {
		t.Errorf("got %v", got)
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range metricstest.Hostile() {
		f.Add(s, s, s)
	}
	server := statsdtest.Listen(f, "127.0.0.1:0")
	f.Fuzz(func(t *testing.T, id, name, value string) {
		before := len(server.Packets())
		m := metrics.NewMetrics(metrics.Collectors([]string{server.Addr}), metrics.Namespace("ns"))
		m.Counter(id).WithFields(metrics.Fields{name: value}).Decr(41)
		startStop(t, m)
		if !metricstest.Eventually(func() bool { return len(server.Packets()) > before }) {
			t.Fatal("nothing arrived")
		}
		sent := server.Packets()[before:]
		points := statsdtest.Parse(t, statsd.Telegraf, sent)
		if len(sent) != 1 || len(points) != 1 {
			t.Fatalf("sent %q: %v", sent, points)
		}
		for _, p := range points {
			if p.Value != -41 {
				t.Errorf("sent %q: %v", sent, p)
			}
		}
	})
}

// More values than a Vec remembers, from many goroutines, still reach their own
// counter.
func TestVecBeyondItsMemory(t *testing.T) {
	const values, workers = 5000, 4
	s := metrics.NewStore(metrics.StoreConfig{MaxSeries: values})
	vec := metrics.NewCounterVec(storeOnly{s}, "calls", "user", "zone")
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range values {
				vec.With(fmt.Sprint(i), "z").Incr(uint64(i + 1))
				vec.With("hot", "z").Incr(1)
			}
		})
	}
	wg.Wait()
	s.Collect(func(series *metrics.Series) {
		if len(series.Tags) == 0 {
			return
		}
		want := int64(workers * values)
		if i, err := strconv.Atoi(series.Tags[0].Value); err == nil {
			want = int64(workers * (i + 1))
		}
		if v, _ := series.Value(); v != want && series.Tags[0].Name != metrics.OverflowField {
			t.Fatalf("%v: %d, want %d", series.Tags, v, want)
		}
	})
}

// storeOnly is the least a plugin can be.
type storeOnly struct{ *metrics.Store }

func (storeOnly) Init(...metrics.Option) error { return nil }
func (storeOnly) Start() error                 { return nil }
func (storeOnly) Stop() error                  { return nil }
func (storeOnly) Dropped() uint64              { return 0 }
func (storeOnly) String() string               { return "store" }
