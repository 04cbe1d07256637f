package prometheus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"syscall"
	"testing"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/metrics"
	"github.com/micro/go-platform/metrics/metricstest"
	"github.com/micro/go-platform/metrics/prometheus"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func scrape(t testing.TB, m *prometheus.Metrics) string {
	t.Helper()
	server := httptest.NewServer(m.Handler())
	defer server.Close()
	res, err := server.Client().Get(server.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("status %d, %v: %.500s", res.StatusCode, err, body)
	}
	return string(body)
}

// parse reads the exposition with Prometheus' own parser.
func parse(t testing.TB, m *prometheus.Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(scrape(t, m)))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

func read(t testing.TB, m *prometheus.Metrics) map[string]metricstest.Point {
	t.Helper()
	families := parse(t, m)
	points := map[string]metricstest.Point{}
	for name, family := range families {
		for _, m := range family.Metric {
			f := metrics.Fields{}
			for _, l := range m.Label {
				f[l.GetName()] = l.GetValue()
			}
			name := strings.TrimPrefix(name, "ns_")
			if m.Counter != nil || m.Untyped != nil {
				name = strings.TrimSuffix(name, "_total")
			}
			points[metricstest.Key(name, f)] = point(m)
		}
	}
	return points
}

func point(m *dto.Metric) metricstest.Point {
	switch {
	case m.Histogram != nil:
		return metricstest.Point{Value: int64(m.Histogram.GetSampleSum()), Count: int64(m.Histogram.GetSampleCount())}
	case m.Counter != nil:
		return metricstest.Point{Value: int64(m.Counter.GetValue())}
	case m.Gauge != nil:
		return metricstest.Point{Value: int64(m.Gauge.GetValue())}
	default:
		return metricstest.Point{Value: int64(m.Untyped.GetValue())}
	}
}

func TestPrometheus(t *testing.T) {
	var m *prometheus.Metrics
	newMetrics := func(_ testing.TB, opts ...metrics.Option) metrics.Metrics {
		m = prometheus.NewMetrics(opts...)
		return m
	}
	metricstest.Run(t, newMetrics)
	metricstest.RunExport(t, newMetrics, metricstest.Backend{
		Read: func(t testing.TB) map[string]metricstest.Point { return read(t, m) },
	})
}

func TestExposition(t *testing.T) {
	registry := prom.NewRegistry()
	m := prometheus.NewMetrics(prometheus.Registry(registry), metrics.Namespace("shop"), metrics.Buckets([]int64{10, 100}))
	m.Counter("orders.made").WithFields(metrics.Fields{"le": "a:b\n", "9th-tag": "x"}).Incr(3)
	m.Gauge("depth").Set(-4)
	for _, v := range []int64{10, 11, 1000} {
		m.Histogram("depth").Record(v)
	}
	m.Counter("depth_histogram_sum").Incr(1)
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	defer m.Stop()
	body := scrape(t, m)
	for _, want := range []string{
		`shop_orders_made_total{_9th_tag="x",le_="a:b\n"} 3`,
		"# TYPE shop_orders_made_total counter",
		"shop_depth -4",
		`shop_depth_histogram_bucket{le="10"} 1`,
		`shop_depth_histogram_bucket{le="100"} 2`,
		`shop_depth_histogram_bucket{le="+Inf"} 3`,
		"shop_depth_histogram_sum 1021",
		"shop_depth_histogram_sum_total 1",
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("missing %q in\n%s", want, body)
		}
	}
	if strings.Contains(body, "shop_orders_made_total 0") {
		t.Error("a series nobody used is exposed")
	}
}

func TestResetForgets(t *testing.T) {
	m := prometheus.NewMetrics()
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	defer m.Stop()
	m.Counter("c").Incr(5)
	m.Gauge("g").Set(5)
	m.Histogram("h").Record(5)
	scrape(t, m)
	m.Counter("c").Reset()
	m.Gauge("g").Reset()
	m.Histogram("h").Reset()
	if body := scrape(t, m); !strings.Contains(body, "micro_c_total 0\n") || strings.Contains(body, "micro_g") || strings.Contains(body, "micro_h") {
		t.Errorf("after Reset:\n%s", body)
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range metricstest.Hostile() {
		f.Add(s, s, s)
	}
	f.Fuzz(func(t *testing.T, id, name, value string) {
		m := prometheus.NewMetrics(metrics.Namespace(""))
		m.Counter(id).WithFields(metrics.Fields{name: value}).Incr(1)
		m.Histogram(id).WithFields(metrics.Fields{name: value}).Record(1)
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		defer m.Stop()
		if families := parse(t, m); len(families) != 2 {
			t.Errorf("%d metrics, want 2: %v", len(families), families)
		}
	})
}

// Two plugins on one registry would write the same series: the second says so.
func TestOneNamespaceOfARegistryHasOnePlugin(t *testing.T) {
	registry := prom.NewRegistry()
	first := prometheus.NewMetrics(prometheus.Registry(registry))
	first.Counter("jobs").Incr(1)
	second := prometheus.NewMetrics(prometheus.Registry(registry))
	const want = `metrics: option Registry: another plugin has the namespace "micro" there`
	for range 2 {
		if err := second.Start(); !errors.Is(err, metrics.ErrInvalid) || err.Error() != want {
			t.Errorf("got %v", err)
		}
	}
	other := prometheus.NewMetrics(prometheus.Registry(registry), metrics.Namespace("other"))
	other.Counter("jobs").Incr(2)
	if body := scrape(t, first); !strings.Contains(body, "micro_jobs_total 1\n") || !strings.Contains(body, "other_jobs_total 2\n") {
		t.Errorf("scraped:\n%s", body)
	}
	for _, m := range []metrics.Metrics{first, second, other} {
		if err := m.Stop(); err != nil {
			t.Error(err)
		}
	}
	// It has room again.
	third := prometheus.NewMetrics(prometheus.Registry(registry))
	third.Counter("jobs").Incr(3)
	if body := scrape(t, third); !strings.Contains(body, "micro_jobs_total 3\n") || third.Dropped() != 0 {
		t.Errorf("%d dropped, scraped:\n%s", third.Dropped(), body)
	}
	if err := third.Stop(); err != nil {
		t.Error(err)
	}
}

// A registry that outlives many plugins does not grow with them.
func TestStoppedPluginsLeaveNothingInTheirRegistry(t *testing.T) {
	registry := prom.NewRegistry()
	freed := make(chan struct{}, 10)
	for range cap(freed) {
		m := prometheus.NewMetrics(prometheus.Registry(registry))
		m.Counter("jobs").Incr(1)
		if err := m.Stop(); err != nil {
			t.Fatal(err)
		}
		runtime.AddCleanup(m.Store, func(c chan struct{}) { c <- struct{}{} }, freed)
	}
	if !metricstest.Eventually(func() bool { runtime.GC(); return len(freed) == cap(freed) }) {
		t.Errorf("the registry keeps %d of %d stopped plugins", cap(freed)-len(freed), cap(freed))
	}
	runtime.KeepAlive(registry)
}

// A scraper that hangs up lacks series by its own will.
func TestAScraperThatHangsUpIsNoLoss(t *testing.T) {
	m := prometheus.NewMetrics()
	for i := range 100 {
		m.Counter(fmt.Sprint("c", i)).Incr(1)
	}
	m.Handler().ServeHTTP(gone{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if n := m.Dropped(); n != 0 {
		t.Errorf("%d dropped", n)
	}
	if err := m.Stop(); err != nil {
		t.Error(err)
	}
}

// gone is a connection that its client has closed.
type gone struct{ http.ResponseWriter }

func (gone) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// Series that another collector of the registry has too are missing in scrapes,
// logged and counted.
func TestAScrapeLosesNothingInSilence(t *testing.T) {
	registry := prom.NewRegistry()
	theirs := prom.NewCounter(prom.CounterOpts{Name: "micro_jobs_total"})
	var said rpctest.Buffer
	m := prometheus.NewMetrics(prometheus.Registry(registry), metrics.Logger(slog.New(slog.NewTextHandler(&said, nil))))
	m.Counter("jobs").Incr(1)
	m.Counter("others").Incr(1)
	if err := registry.Register(theirs); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if body := scrape(t, m); !strings.Contains(body, "micro_others_total 1\n") {
			t.Errorf("scraped:\n%s", body)
		}
	}
	if n := strings.Count(said.String(), "micro_jobs"); n == 0 || strings.Count(said.String(), "level=WARN") != 1 {
		t.Errorf("logged:\n%s", said.String())
	}
	if m.Dropped() != 2 {
		t.Errorf("%d dropped by two scrapes", m.Dropped())
	}
	if err := m.Stop(); err != nil {
		t.Error(err)
	}
}

// What the wrappers record follows Prometheus' conventions.
func TestConventions(t *testing.T) {
	m := prometheus.NewMetrics(metrics.Buckets([]int64{1000, 2_000_000}))
	calls := metrics.HandlerWrapper(m)(func(context.Context, server.Request, any) error { return errors.New("x") })
	if err := calls(t.Context(), request{}, nil); err == nil {
		t.Fatal("no error")
	}
	m.Histogram("took_us").Record(1_500_000)
	m.Counter("debt").Incr(3)
	m.Counter("debt").Decr(1)
	body := scrape(t, m)
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil || len(problems) != 0 {
		t.Errorf("%v, %v", problems, err)
	}
	for _, want := range []string{
		`micro_took_seconds_bucket{le="0.001"} 0`, `micro_took_seconds_bucket{le="2"} 1`, "micro_took_seconds_sum 1.5",
		"# TYPE micro_debt_total untyped", "micro_debt_total 2", "# TYPE micro_server_calls_total counter", "# TYPE micro_server_duration_seconds histogram",
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("no %q in\n%s", want, body)
		}
	}
	if err := m.Stop(); err != nil {
		t.Error(err)
	}
}

type request struct{ server.Request }

func (request) Service() string  { return "shop" }
func (request) Endpoint() string { return "Shop.Buy" }
