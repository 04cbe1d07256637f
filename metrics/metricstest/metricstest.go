// Package metricstest is the conformance suite of metrics plugins: Run for all of
// them, RunExport for those from which the recorded values can be read back.
package metricstest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/metrics"
)

// New returns a plugin that was not started, with opts after the options that it
// needs. The suite stops it.
type New func(t testing.TB, opts ...metrics.Option) metrics.Metrics

// Point is what a backend knows of one series.
type Point struct {
	Value int64 // of a counter all received, of a gauge the last value; a histogram's sum
	Count int64 // of a histogram, the number of samples
}

// Backend is the receiver of the plugin that a New made last.
type Backend struct {
	// Read returns what has arrived, by Key. The namespace is "ns" and not part
	// of the key.
	Read func(t testing.TB) map[string]Point
	// Key is how Read names a series; nil is metricstest.Key.
	Key func(id string, f metrics.Fields) string
	// Unsigned says that negative samples are dropped.
	Unsigned bool
}

// Key names a series "id{name=value,...}", sorted.
func Key(id string, f metrics.Fields) string {
	pairs := make([]string, 0, len(f))
	for _, name := range slices.Sorted(maps.Keys(f)) {
		pairs = append(pairs, name+"="+f[name])
	}
	return id + "{" + strings.Join(pairs, ",") + "}"
}

// RunExport checks what arrives. Each test makes a plugin of its own, which must
// have a backend of its own.
func RunExport(t *testing.T, newMetrics New, b Backend) {
	t.Helper()
	if b.Key == nil {
		b.Key = Key
	}
	for _, c := range []struct {
		name string
		test func(*testing.T, *run)
	}{
		{"counter", counter},
		{"counter recorded before start", beforeStart},
		{"counter from many goroutines", concurrent},
		{"gauge", gauge},
		{"histogram", histogram},
		{"negative samples", negativeSamples},
		{"fields", fields},
		{"hostile names and fields", hostile},
		{"fields that clean to one name", alikeFields},
		{"kinds do not mix", kinds},
		{"cardinality", cardinality},
		{"vec", vec},
		{"a plugin that cannot start", cannotStart},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, &run{newMetrics, b}) })
	}
}

type run struct {
	New New
	Backend
}

// start makes and starts a plugin.
func (r *run) start(t *testing.T, opts ...metrics.Option) metrics.Metrics {
	t.Helper()
	m := r.New(t, append([]metrics.Option{metrics.Namespace("ns")}, opts...)...)
	must(t, m.Start())
	return m
}

// want waits until the backend knows exactly this of a series.
func (r *run) want(t *testing.T, id string, f metrics.Fields, want Point) {
	t.Helper()
	key := r.Key(id, f)
	var all map[string]Point
	if !Eventually(func() bool { all = r.Read(t); return all[key] == want }) {
		t.Fatalf("%s: got %+v, want %+v; all: %.2000v", key, all[key], want, all)
	}
}

// Eventually polls cond for up to a minute.
func Eventually(cond func() bool) bool {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if cond() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func counter(t *testing.T, r *run) {
	m := r.start(t)
	c := m.Counter("jobs")
	c.Incr(5)
	c.Decr(2)
	m.Counter("debt").Decr(7)
	m.Counter("jobs").Incr(1)
	must(t, m.Stop())
	r.want(t, "jobs", nil, Point{Value: 4})
	r.want(t, "debt", nil, Point{Value: -7})
}

// cannotStart demands that Stop tells and counts what was kept for a Start that never
// succeeded.
func cannotStart(t *testing.T, r *run) {
	m := r.New(t, metrics.IdleTimeout(0))
	m.Counter("jobs").Incr(5)
	m.Gauge("level").Set(1)
	const want = "metrics: lost 2 values: it could not start: metrics: option IdleTimeout: 0s is less than 1s"
	if err := m.Stop(); !errors.Is(err, metrics.ErrLost) || err.Error() != want || m.Dropped() != 2 {
		t.Errorf("Stop: %v, %d dropped; want %q", err, m.Dropped(), want)
	}
	must(t, m.Stop())
}

// beforeStart records more than any queue holds before anybody sends.
func beforeStart(t *testing.T, r *run) {
	m := r.New(t, metrics.Namespace("ns"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 50_000 {
			m.Counter("early").Incr(1)
			m.Gauge("level").Set(3)
			m.Histogram("took").Record(1)
		}
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("recording before Start blocks")
	}
	must(t, m.Start())
	must(t, m.Stop())
	r.want(t, "early", nil, Point{Value: 50_000})
	r.want(t, "level", nil, Point{Value: 3})
}

func concurrent(t *testing.T, r *run) {
	m := r.start(t)
	const workers, each = 8, 2000
	done := make(chan struct{})
	for w := range workers {
		go func() {
			for i := range each {
				m.Counter("shared").WithFields(metrics.Fields{"part": fmt.Sprint((i + w) % 4)}).Incr(1)
			}
			done <- struct{}{}
		}()
	}
	for range workers {
		<-done
	}
	must(t, m.Stop())
	for part := range 4 {
		r.want(t, "shared", metrics.Fields{"part": fmt.Sprint(part)}, Point{Value: workers * each / 4})
	}
}

func gauge(t *testing.T, r *run) {
	m := r.start(t)
	m.Gauge("depth").Set(10)
	m.Gauge("depth").Set(7)
	m.Gauge("cold").Set(-40)
	must(t, m.Stop())
	r.want(t, "depth", nil, Point{Value: 7})
	r.want(t, "cold", nil, Point{Value: -40})
}

func histogram(t *testing.T, r *run) {
	m := r.start(t)
	h := m.Histogram("took")
	for _, v := range []int64{1, 20, 300} {
		h.Record(v)
	}
	must(t, m.Stop())
	r.want(t, "took", nil, Point{Value: 321, Count: 3})
}

func negativeSamples(t *testing.T, r *run) {
	m := r.start(t)
	m.Histogram("skew").Record(-5)
	m.Histogram("skew").Record(8)
	err := m.Stop()
	if !r.Unsigned {
		must(t, err)
		r.want(t, "skew", nil, Point{Value: 3, Count: 2})
		return
	}
	r.want(t, "skew", nil, Point{Value: 8, Count: 1})
	if d := m.(interface{ Dropped() uint64 }).Dropped(); d != 1 {
		t.Fatalf("Dropped() = %d, want 1", d)
	}
}

func fields(t *testing.T, r *run) {
	m := r.start(t, metrics.WithFields(metrics.Fields{"zone": "a"}))
	c := m.Counter("hits").WithFields(metrics.Fields{"code": "200"})
	given := metrics.Fields{"host": "h1", "empty": "", "": "nameless"}
	c.WithFields(given).Incr(2)
	given["host"] = "changed later"
	c.WithFields(metrics.Fields{"code": "500", "zone": "b"}).Incr(3)
	c.Incr(1)
	m.Counter("hits").WithFields(metrics.Fields{"host": "h1", "code": "200"}).Incr(4)
	must(t, m.Stop())
	r.want(t, "hits", metrics.Fields{"zone": "a", "code": "200"}, Point{Value: 1})
	r.want(t, "hits", metrics.Fields{"zone": "a", "code": "200", "host": "h1"}, Point{Value: 6})
	r.want(t, "hits", metrics.Fields{"zone": "b", "code": "500"}, Point{Value: 3})
}

// Hostile are names and values that broke somebody's wire.
func Hostile() []string {
	return []string{
		"a:1|c\nforged:99|c", "x|g", "a,b=c", "k=v", "user@host", "#tag", "|#x:y", "%s%n",
		"new\nline", "carriage\rreturn", "nul\x00", "\x1b[31mred", "\u2028sep", "\u202eltr", "caf\xc3\xa9", "\xff\xfe", "\xe2\x82",
		" ", "  padded  ", "..", `back\`, `qu"ote`, "le", "__name__", "quantile", "_e{1,1}:a|b", "123", "-", "metric_type",
		strings.Repeat("long", 5000),
	}
}

// hostile gives every bad string in every place: nothing else may be made up
// or lost.
func hostile(t *testing.T, r *run) {
	m := r.start(t)
	for _, bad := range Hostile() {
		m.Counter(bad).Incr(1)
		m.Gauge(bad).Set(1)
		m.Histogram(bad).Record(1)
		m.Counter("good").WithFields(metrics.Fields{bad: "v", "k": bad}).Incr(1)
	}
	m.Counter("good").Incr(1)
	must(t, m.Stop())
	r.want(t, "good", nil, Point{Value: 1})
	want := int64(len(Hostile()) + 1)
	if total := r.sum(t, "good", want); total != want {
		t.Errorf("updates with hostile fields: got %d, want %d", total, want)
	}
	for key := range r.Read(t) {
		if strings.HasPrefix(key, "forged") {
			t.Errorf("forged series %q", key)
		}
	}
}

// alikeFields have names that become the same on some wires, or that a backend
// reserves: no value may take the place of another.
func alikeFields(t *testing.T, r *run) {
	m := r.start(t)
	c := m.Counter("alike").WithFields(metrics.Fields{"a:b": "1", "a,b": "2", "a=b": "3", "metric_type": "4"})
	c.Incr(5)
	c.WithFields(metrics.Fields{"a:b": "6"}).Incr(7)
	must(t, m.Stop())
	if total := r.sum(t, "alike", 12); total != 12 {
		t.Errorf("updates: got %d, want 12", total)
	}
	for key := range r.Read(t) {
		if !strings.HasPrefix(key, "alike") {
			continue
		}
		first := "1"
		if strings.Contains(key, "6") {
			first = "6"
		}
		for _, value := range []string{first, "2", "3", "4"} {
			if strings.Count(key, value) != 1 {
				t.Errorf("the value %s is not once in %s", value, key)
			}
		}
	}
}

// sum adds up the series of an id, waiting until they reach want.
func (r *run) sum(t *testing.T, id string, want int64) (total int64) {
	t.Helper()
	Eventually(func() bool {
		total = 0
		for key, p := range r.Read(t) {
			if strings.HasPrefix(key, id) {
				total += p.Value
			}
		}
		return total >= want
	})
	return total
}

func kinds(t *testing.T, r *run) {
	m := r.start(t)
	m.Counter("one").Incr(3)
	m.Counter("two").WithFields(metrics.Fields{"k": "v"}).Incr(4)
	m.Gauge("two").Set(5)
	must(t, m.Stop())
	r.want(t, "one", nil, Point{Value: 3})
	r.want(t, "two", metrics.Fields{"k": "v"}, Point{Value: 4})
}

func cardinality(t *testing.T, r *run) {
	m := r.start(t, metrics.MaxSeries(10))
	const flood = 5000
	m.Counter("flood").WithFields(metrics.Fields{metrics.OverflowField: "true"}).Incr(1) // not a second one
	for i := range flood {
		m.Counter("flood").WithFields(metrics.Fields{"user": fmt.Sprint(i)}).Incr(1)
	}
	m.Counter("calm").WithFields(metrics.Fields{"user": "x"}).Incr(1)
	must(t, m.Stop())
	r.want(t, "flood", metrics.Fields{metrics.OverflowField: "true"}, Point{Value: flood - 9})
	r.want(t, "calm", metrics.Fields{"user": "x"}, Point{Value: 1})
	if total := r.sum(t, "flood", flood+1); total != flood+1 {
		t.Errorf("sum of all series is %d, want %d", total, flood+1)
	}
	series := 0
	for key := range r.Read(t) {
		if strings.HasPrefix(key, "flood") {
			series++
		}
	}
	if series != 11 {
		t.Errorf("%d series, want 10 and the overflow", series)
	}
	if n := m.(interface{ Overflowed() uint64 }).Overflowed(); n != flood-9 {
		t.Errorf("Overflowed() = %d, want %d", n, flood-9)
	}
}

func vec(t *testing.T, r *run) {
	m := r.start(t)
	calls := metrics.NewCounterVec(m, "calls", "service", "method")
	for range 3 {
		calls.With("orders", "Create").Incr(1)
		calls.With("Create", "orders").Incr(2)
	}
	calls.With("orders").Incr(5)
	calls.With("orders", "Create", "surplus").Incr(1)
	metrics.NewGaugeVec(m, "depth", "queue").With("q").Set(9)
	metrics.NewHistogramVec(m, "took", "queue").With("q").Record(9)
	must(t, m.Stop())
	r.want(t, "calls", metrics.Fields{"service": "orders", "method": "Create"}, Point{Value: 4})
	r.want(t, "calls", metrics.Fields{"service": "Create", "method": "orders"}, Point{Value: 6})
	r.want(t, "calls", metrics.Fields{"service": "orders"}, Point{Value: 5})
	r.want(t, "depth", metrics.Fields{"queue": "q"}, Point{Value: 9})
	r.want(t, "took", metrics.Fields{"queue": "q"}, Point{Value: 9, Count: 1})
}
