package metricstest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/metrics"
)

// RunLifecycle checks what holds for every plugin, also for one that keeps
// nothing.
func RunLifecycle(t *testing.T, build New) {
	t.Run("start and stop are idempotent", func(t *testing.T) {
		m := build(t)
		must(t, m.Start())
		must(t, m.Start())
		must(t, m.Stop())
		must(t, m.Stop())
		if err := m.Start(); !errors.Is(err, metrics.ErrStopped) {
			t.Errorf("Start after Stop: %v", err)
		}
	})
	t.Run("stop before start", func(t *testing.T) {
		must(t, build(t).Stop())
	})
	t.Run("use after stop", func(t *testing.T) {
		m := build(t)
		must(t, m.Start())
		must(t, m.Stop())
		useAll(m)
		useAll(m)
	})
	t.Run("stop is bounded", func(t *testing.T) {
		m := build(t)
		must(t, m.Start())
		useAll(m)
		begin := time.Now()
		must(t, m.Stop())
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("Stop took %v", took)
		}
	})
	t.Run("has a name", func(t *testing.T) {
		m := build(t)
		if m.String() == "" {
			t.Error("String() is empty")
		}
		must(t, m.Stop())
	})
	t.Run("bad options", func(t *testing.T) { badOptions(t, build) })
	t.Run("init", func(t *testing.T) { initialise(t, build) })
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
		"Buckets":       metrics.Buckets([]int64{2, 1}),
		"Logger":        metrics.Logger(nil),
	}
}

func badOptions(t *testing.T, build New) {
	for name, bad := range Bad() {
		m := build(t, bad)
		if err := m.Start(); !errors.Is(err, metrics.ErrInvalid) || !strings.Contains(err.Error(), "option "+name) {
			t.Errorf("Start with a bad %s: %v, want an error that names it", name, err)
		}
		_ = m.Stop() // must not hang; what it says is not at issue
		m = build(t)
		if err := m.Init(bad); !errors.Is(err, metrics.ErrInvalid) || !strings.Contains(err.Error(), "option "+name) {
			t.Errorf("Init with a bad %s: %v, want an error that names it", name, err)
		}
		must(t, m.Start())
		must(t, m.Stop())
	}
}

func initialise(t *testing.T, build New) {
	m := build(t)
	must(t, m.Init(metrics.WithFields(metrics.Fields{"zone": "a"}), metrics.MaxSeries(5)))
	must(t, m.Start())
	if m.Init(metrics.BatchInterval(time.Second)) == nil {
		t.Error("Init after Start: no error")
	}
	must(t, m.Stop())
}
