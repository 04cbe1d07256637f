package metricstest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/lifecycle/lifecycletest"
	"github.com/micro/go-platform/metrics"
)

// Run checks what holds for every plugin, also for one that keeps nothing.
func Run(t *testing.T, newMetrics New) {
	t.Helper()
	t.Run("Lifecycle", func(t *testing.T) {
		lifecycletest.Run(t, lifecycletest.Case[metrics.Metrics, metrics.Option]{
			New:       newMetrics,
			Call:      func(m metrics.Metrics) error { m.Counter("calls").Incr(1); return nil },
			Dropped:   metrics.Metrics.Dropped,
			Bad:       metrics.MaxSeries(0),
			Text:      "metrics: option MaxSeries: 0 is less than 1",
			NilLogger: metrics.Logger(nil),
		})
	})
	for name, test := range map[string]func(*testing.T, New){
		"EveryUpdateStarts": everyUpdateStarts,
		"UpdatesAfterStop":  updatesAfterStop,
		"StopIsBounded":     stopIsBounded,
		"BadOptions":        badOptions,
		"Init":              initialise,
		"StartsWhenItCan":   startsWhenItCan,
	} {
		t.Run(name, func(t *testing.T) { test(t, newMetrics) })
	}
}

// updates are one of each kind.
func updates() map[string]func(metrics.Metrics) {
	f := metrics.Fields{"k": "v"}
	return map[string]func(metrics.Metrics){
		"Incr":   func(m metrics.Metrics) { m.Counter("c").Incr(1) },
		"Decr":   func(m metrics.Metrics) { m.Counter("c").WithFields(f).Decr(1) },
		"Set":    func(m metrics.Metrics) { m.Gauge("g").WithFields(f).Set(1) },
		"Record": func(m metrics.Metrics) { m.Histogram("h").WithFields(f).Record(1) },
		"Vec":    func(m metrics.Metrics) { metrics.NewCounterVec(m, "c", "k").With("w").Incr(1) },
	}
}

// started reports whether m was started, by the error of Init.
func started(m metrics.Metrics) bool { return errors.Is(m.Init(), metrics.ErrStarted) }

func everyUpdateStarts(t *testing.T, newMetrics New) {
	for name, update := range updates() {
		m := newMetrics(t)
		m.Counter("c").WithFields(metrics.Fields{"k": "v"})
		metrics.NewHistogramVec(m, "h", "k").With("v")
		if started(m) {
			t.Error("handing out metrics starts the plugin")
		}
		if update(m); !started(m) {
			t.Errorf("%s does not start the plugin", name)
		}
		must(t, m.Stop())
	}
}

func updatesAfterStop(t *testing.T, newMetrics New) {
	for name, update := range updates() {
		m := newMetrics(t)
		update(m)
		must(t, m.Stop())
		useAll(m)
		before := m.Dropped()
		update(m)
		update(m)
		if n := m.Dropped() - before; n != 2 {
			t.Errorf("%s: two updates after Stop count as %d", name, n)
		}
		if err := m.Init(); !errors.Is(err, metrics.ErrStopped) {
			t.Errorf("Init after Stop: %v", err)
		}
	}
}

func stopIsBounded(t *testing.T, newMetrics New) {
	m := newMetrics(t)
	must(t, m.Start())
	useAll(m)
	begin := time.Now()
	must(t, m.Stop())
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("Stop took %v", took)
	}
}

func useAll(m metrics.Metrics) {
	f := metrics.Fields{"k": "v"}
	for _, c := range []metrics.Counter{m.Counter("c"), m.Counter("c").WithFields(f)} {
		c.Incr(1)
		c.Decr(1)
		c.Incr(1 << 63)
		c.Reset()
	}
	for _, g := range []metrics.Gauge{m.Gauge("g"), m.Gauge("g").WithFields(f)} {
		g.Set(-1)
		g.Reset()
	}
	for _, h := range []metrics.Histogram{m.Histogram("h"), m.Histogram("h").WithFields(nil)} {
		h.Record(1)
		h.Reset()
	}
}

// Bad is one bad value of each option, by the option's name.
func Bad() map[string]metrics.Option {
	long := strings.Repeat("x", 1000)
	return map[string]metrics.Option{
		"BatchInterval": metrics.BatchInterval(0),
		"Collectors":    metrics.Collectors([]string{"no-port"}),
		"Namespace":     metrics.Namespace("two words"),
		"WithFields":    metrics.WithFields(metrics.Fields{long: "v"}),
		"MaxSeries":     metrics.MaxSeries(0),
		"Samples":       metrics.Samples(-1),
		"IdleTimeout":   metrics.IdleTimeout(time.Millisecond),
		"Buckets":       metrics.Buckets([]int64{2, 1}),
	}
}

func badOptions(t *testing.T, newMetrics New) {
	for name, bad := range Bad() {
		m := newMetrics(t, bad)
		if err := m.Start(); !errors.Is(err, metrics.ErrInvalid) || !strings.HasPrefix(err.Error(), "metrics: option "+name+": ") {
			t.Errorf("Start with a bad %s: %v, want an error that names it", name, err)
		}
		_ = m.Stop() // must not hang; what it says is not at issue
		m = newMetrics(t)
		if err := m.Init(bad); !errors.Is(err, metrics.ErrInvalid) || !strings.HasPrefix(err.Error(), "metrics: option "+name+": ") {
			t.Errorf("Init with a bad %s: %v, want an error that names it", name, err)
		}
		must(t, m.Start())
		must(t, m.Stop())
	}
}

func initialise(t *testing.T, newMetrics New) {
	m := newMetrics(t)
	must(t, m.Init(metrics.WithFields(metrics.Fields{"zone": "a"}), metrics.MaxSeries(5)))
	must(t, m.Start())
	if err := m.Init(metrics.BatchInterval(time.Second)); !errors.Is(err, metrics.ErrStarted) {
		t.Errorf("Init after Start: %v", err)
	}
	must(t, m.Stop())
}

// startsWhenItCan hands a metric out before the plugin can start: its next updates
// start the plugin as soon as the options are good.
func startsWhenItCan(t *testing.T, newMetrics New) {
	m := newMetrics(t, metrics.IdleTimeout(0))
	held := m.Counter("c")
	held.Incr(1)
	if started(m) {
		t.Fatal("it started with a bad option")
	}
	must(t, m.Init(metrics.IdleTimeout(time.Minute)))
	if !Eventually(func() bool { held.Incr(1); return started(m) }) {
		t.Error("no update of a held metric starts the plugin")
	}
	must(t, m.Stop())
	before := m.Dropped()
	if held.Incr(1); m.Dropped() != before+1 {
		t.Error("an update after Stop was not counted")
	}
}
