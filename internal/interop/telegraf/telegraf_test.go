// Package telegraf_test parses what the default plugin sends with Telegraf's own
// statsd input, over a real socket. Telegraf is a large module: this one is
// apart so that nobody else has to know of it.
package telegraf_test

import (
	"fmt"
	"io"
	"log"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/plugins/inputs/statsd"
	"github.com/influxdata/telegraf/plugins/serializers/influx"
	"github.com/influxdata/telegraf/testutil"

	"go.uber.org/goleak"

	"github.com/micro/go-platform/internal/leak"
	"github.com/micro/go-platform/metrics"
	"github.com/micro/go-platform/metrics/metricstest"
	dog "github.com/micro/go-platform/metrics/statsd"
)

// go-micro starts a goroutine when it is imported.
func TestMain(m *testing.M) { leak.Main(m, goleak.IgnoreCurrent()) }

// server is Telegraf's statsd input and what it has gathered.
type server struct {
	input *statsd.Statsd
	acc   *testutil.Accumulator
	log   *testutil.CaptureLogger
	addr  string
}

func listen(t testing.TB, datadog bool) *server {
	t.Helper()
	s := &server{
		acc: &testutil.Accumulator{},
		log: &testutil.CaptureLogger{},
		input: &statsd.Statsd{
			Protocol: "udp", ServiceAddress: "127.0.0.1:0",
			AllowedPendingMessages: 100_000, NumberWorkerThreads: 1,
			MetricSeparator: "_", ReadBufferSize: 1 << 20,
			DataDogExtensions: datadog,
		},
	}
	s.input.Log = s.log
	if err := s.input.Start(s.acc); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.input.Stop)
	s.addr = s.input.UDPlistener.LocalAddr().String()
	return s
}

// metrics gathers what Telegraf has parsed so far.
func (s *server) metrics(t testing.TB) []telegraf.Metric {
	t.Helper()
	s.acc.ClearMetrics()
	if err := s.input.Gather(s.acc); err != nil {
		t.Fatal(err)
	}
	if len(s.acc.Errors) > 0 {
		t.Fatal(s.acc.Errors)
	}
	for _, e := range s.log.Errors() {
		t.Fatalf("Telegraf complains: %s", e)
	}
	return s.acc.GetTelegrafMetrics()
}

func (s *server) points(t testing.TB) map[string]metricstest.Point {
	t.Helper()
	points := map[string]metricstest.Point{}
	for _, m := range s.metrics(t) {
		p := metricstest.Point{}
		if v, ok := m.GetField("value"); ok {
			p.Value = number(v)
		} else {
			sum, _ := m.GetField("sum")
			count, _ := m.GetField("count")
			p.Value, p.Count = number(sum), number(count)
		}
		f := metrics.Fields(m.Tags())
		delete(f, "metric_type") // Telegraf's own
		points[metricstest.Key(strings.TrimPrefix(m.Name(), "ns_"), f)] = p
	}
	return points
}

func number(v any) int64 {
	switch v := v.(type) {
	case float64:
		return int64(v)
	case int64:
		return v
	default:
		panic(fmt.Sprintf("%T", v))
	}
}

// The whole suite, with Telegraf as the one who reads.
func TestSuite(t *testing.T) {
	var s *server
	newMetrics := func(t testing.TB, opts ...metrics.Option) metrics.Metrics {
		s = listen(t, false)
		own := []metrics.Option{metrics.Collectors([]string{s.addr}), metrics.BatchInterval(20 * time.Millisecond)}
		return metrics.NewMetrics(append(own, opts...)...)
	}
	metricstest.RunExport(t, newMetrics, metricstest.Backend{
		Read:     func(t testing.TB) map[string]metricstest.Point { return s.points(t) },
		Unsigned: true,
	})
}

func TestSampleRatesAddUp(t *testing.T) {
	s := listen(t, false)
	m := metrics.NewMetrics(metrics.Collectors([]string{s.addr}), metrics.Namespace("ns"), metrics.Samples(64))
	const n = 100_000
	for range n {
		m.Histogram("took").Record(3)
	}
	start(t, m)
	// Off by less than the weight of one sample, which is at most 2n/64.
	ok := func() bool {
		p := s.points(t)["took{}"]
		return p.Count > n-2*n/64 && p.Count < n+2*n/64 && p.Value == 3*p.Count
	}
	if !metricstest.Eventually(ok) {
		t.Errorf("got %+v, want about %d samples of 3", s.points(t), n)
	}
}

// Dogstatsd's tags are read too; only a negative gauge is not, which Telegraf
// takes for a step.
func TestDogStatsD(t *testing.T) {
	s := listen(t, true)
	m := dog.NewMetrics(dog.DogStatsD(), metrics.Collectors([]string{s.addr}), metrics.Namespace("ns"))
	f := metrics.Fields{"service": "a:b", "method": "x,y|z"}
	m.Counter("calls").WithFields(f).Decr(3)
	m.Gauge("depth").WithFields(f).Set(4)
	m.Histogram("took").WithFields(f).Record(5)
	start(t, m)
	clean := metrics.Fields{"service": "a_b", "method": "x_y_z"}
	want := map[string]metricstest.Point{
		metricstest.Key("calls", clean): {Value: -3},
		metricstest.Key("depth", clean): {Value: 4},
		metricstest.Key("took", clean):  {Value: 5, Count: 1},
	}
	if !metricstest.Eventually(func() bool { return fmt.Sprint(s.points(t)) == fmt.Sprint(want) }) {
		t.Errorf("got %v, want %v", s.points(t), want)
	}
}

// start starts and stops, which sends everything.
func start(t testing.TB, m metrics.Metrics) {
	t.Helper()
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	if err := m.Stop(); err != nil {
		t.Fatal(err)
	}
}

// FuzzNames sends any id, tag name and value; Telegraf must see exactly one
// series with our value, and be able to write it in InfluxDB's line protocol.
func FuzzNames(f *testing.F) {
	log.SetOutput(io.Discard)
	for _, s := range metricstest.Hostile() {
		f.Add(s, s, s)
	}
	f.Fuzz(func(t *testing.T, id, name, value string) {
		s := listen(t, false)
		m := metrics.NewMetrics(metrics.Collectors([]string{s.addr}), metrics.Namespace("ns"))
		m.Counter(id).WithFields(metrics.Fields{name: value}).Decr(41)
		start(t, m)
		var got []telegraf.Metric
		if !metricstest.Eventually(func() bool { got = s.metrics(t); return len(got) > 0 }) {
			t.Fatal("nothing arrived")
		}
		if v, _ := got[0].GetField("value"); len(got) != 1 || number(v) != -41 {
			t.Fatalf("got %v", got)
		}
		if tags := len(got[0].Tags()) - 1; tags > 1 { // Telegraf adds metric_type
			t.Errorf("%d tags: %v", tags, got[0].Tags())
		}
		line, err := (&influx.Serializer{}).Serialize(got[0])
		if err != nil || !utf8.Valid(line) || strings.Count(string(line), "\n") != 1 {
			t.Errorf("line protocol: %q, %v", line, err)
		}
	})
}
