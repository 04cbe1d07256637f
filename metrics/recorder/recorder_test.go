package recorder_test

import (
	"slices"
	"testing"

	"github.com/micro/go-platform/internal/leak"
	"github.com/micro/go-platform/metrics"
	"github.com/micro/go-platform/metrics/metricstest"
	"github.com/micro/go-platform/metrics/recorder"
	"go.uber.org/goleak"
)

// go-micro starts a goroutine when it is imported.
func TestMain(m *testing.M) { leak.Main(m, goleak.IgnoreCurrent()) }

func TestRecorder(t *testing.T) {
	var r *recorder.Metrics
	newMetrics := func(_ testing.TB, opts ...metrics.Option) metrics.Metrics {
		r = recorder.NewMetrics(append([]metrics.Option{metrics.Samples(1 << 16)}, opts...)...)
		return r
	}
	metricstest.Run(t, newMetrics)
	metricstest.RunExport(t, newMetrics, metricstest.Backend{
		Read: func(testing.TB) map[string]metricstest.Point { return read(r) },
	})
}

func read(r *recorder.Metrics) map[string]metricstest.Point {
	type series struct {
		kind metrics.Kind
		id   string
		f    metrics.Fields
	}
	var all []series
	r.Each(func(kind metrics.Kind, id string, f metrics.Fields) { all = append(all, series{kind, id, f}) })
	points := map[string]metricstest.Point{}
	for _, s := range all {
		p := metricstest.Point{}
		switch s.kind {
		case metrics.CounterKind:
			p.Value = r.CounterValue(s.id, s.f)
		case metrics.GaugeKind:
			p.Value, _ = r.GaugeValue(s.id, s.f)
		case metrics.HistogramKind:
			for _, v := range r.Samples(s.id, s.f) {
				p.Value, p.Count = p.Value+v, p.Count+1
			}
		}
		points[metricstest.Key(s.id, s.f)] = p
	}
	return points
}

func TestResets(t *testing.T) {
	r := recorder.NewMetrics()
	f := metrics.Fields{"k": "v"}
	r.Counter("c").WithFields(f).Incr(5)
	r.Counter("c").WithFields(f).Reset()
	r.Counter("c").WithFields(f).Incr(2)
	if got := r.CounterValue("c", f); got != 2 {
		t.Errorf("counter after Reset and Incr(2): %d", got)
	}
	r.Gauge("g").Set(5)
	r.Gauge("g").Reset()
	if got, ok := r.GaugeValue("g", nil); ok {
		t.Errorf("gauge after Reset: %d", got)
	}
	r.Histogram("h").Record(5)
	r.Histogram("h").Reset()
	r.Histogram("h").Record(6)
	if got := r.Samples("h", nil); !slices.Equal(got, []int64{6}) {
		t.Errorf("histogram after Reset and Record(6): %v", got)
	}
}
