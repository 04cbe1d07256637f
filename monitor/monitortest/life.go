package monitortest

import (
	"errors"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/micro/go-platform/monitor"
)

func testStatus(t *testing.T, newMonitor New) {
	m := started(t, newMonitor)
	eventually(t, "it runs", func() bool { return m.Health().Status == monitor.StatusRunning })
	if !m.Health().Ready() || m.String() == "" || m.Health().Node == "" {
		t.Errorf("health: %+v", m.Health())
	}
	for range 2 {
		if err := m.Drain(); err != nil {
			t.Fatal(err)
		}
	}
	if h := m.Health(); h.Ready() || h.Status != monitor.StatusDraining {
		t.Errorf("draining: %+v", h)
	}
	if err := m.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if h := m.Health(); h.Status != monitor.StatusStopped || h.Ready() {
		t.Errorf("stopped: %+v", h)
	}
}

// What is registered before must be there when the service is STARTED.
func testFirstCall(t *testing.T, newMonitor New) {
	for name, call := range map[string]func(monitor.Monitor){
		"RecordStat": func(m monitor.Monitor) { m.RecordStat(request{}, time.Second, nil) },
		"Drain": func(m monitor.Monitor) {
			if err := m.Drain(); err != nil {
				t.Errorf("drain: %v", err)
			}
		},
	} {
		m := newMonitor(t)
		register(t, m, "cold", func() (map[string]string, error) { return nil, errors.New("cold") }, monitor.OfKind(monitor.Startup))
		monitor.ReadyFilter(m)
		if s := m.Health().Status; s != monitor.StatusUnknown {
			t.Errorf("%v before the first call", s)
		}
		if call(m); m.Health().Status == monitor.StatusUnknown || m.Health().Status == monitor.StatusRunning {
			t.Errorf("%s: %v", name, m.Health().Status)
		}
		if err := m.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
}

// broken is an error that panics when it is nil.
type broken struct{ text string }

func (b *broken) Error() string  { return b.text }
func (b *broken) Unwrap() error  { return errors.New(b.text) }
func (b *broken) String() string { return b.text }

// dropper is one whose pointer is nil.
type dropper struct{ n uint64 }

func (d *dropper) Dropped() uint64 { return d.n }

// Nothing that a user's code returns ends the process.
func testHostileValues(t *testing.T, newMonitor New) {
	const bad = "a\xff\x00b"
	m := started(t, newMonitor, monitor.WatchLoss("broken", (*dropper)(nil)), monitor.Interval(100*time.Millisecond))
	for id, fn := range map[string]monitor.HealthCheck{
		"nil-pointer": func() (map[string]string, error) { return nil, (*broken)(nil) },
		"panic":       func() (map[string]string, error) { panic((*broken)(nil)) },
		"texts":       func() (map[string]string, error) { return map[string]string{bad: bad}, errors.New(bad) },
	} {
		h := m.NewHealthChecker(id, bad, fn)
		if err := m.Register(h); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Run(); err == nil || err.Error() == "" {
			t.Errorf("%s: %v", id, err)
		}
		if _, err := h.Status(); err == nil || err.Error() == "" {
			t.Errorf("%s: %v", id, err)
		}
		if s := state(m, id); s.Status != monitor.CheckError || !utf8.ValidString(s.Error+s.Description) || s.Error == "" {
			t.Errorf("%s: %+v", id, s)
		}
	}
	for _, err := range []error{(*broken)(nil), errors.New(bad)} {
		m.RecordStat(request{}, time.Millisecond, err)
	}
	if err := m.Stop(); err != nil || m.Dropped() != 0 {
		t.Errorf("stop: %v, %d dropped", err, m.Dropped())
	}
}

type request struct{}

func (request) Service() string { return "s" }
func (request) Method() string  { return "M.M" }

func testAfterStop(t *testing.T, newMonitor New) {
	m := newMonitor(t)
	h := register(t, m, "a", ok)
	if err := m.Stop(); err != nil {
		t.Fatalf("stop without start: %v", err)
	}
	if err := m.Start(); !errors.Is(err, monitor.ErrStopped) {
		t.Errorf("start: %v", err)
	}
	if err := m.Register(m.NewHealthChecker("b", "", ok)); !errors.Is(err, monitor.ErrStopped) {
		t.Errorf("register: %v", err)
	}
	if err := m.Deregister(h); !errors.Is(err, monitor.ErrStopped) {
		t.Errorf("deregister: %v", err)
	}
	if _, err := m.HealthChecks(); !errors.Is(err, monitor.ErrStopped) {
		t.Errorf("checks: %v", err)
	}
	if err := m.Drain(); !errors.Is(err, monitor.ErrStopped) {
		t.Errorf("drain: %v", err)
	}
}

func testProbes(t *testing.T, newMonitor New) {
	m := newMonitor(t)
	var live, ready atomic.Bool
	check := func(good *atomic.Bool) monitor.HealthCheck {
		return func() (map[string]string, error) {
			if !good.Load() {
				return map[string]string{"lag": "9s"}, errors.New("behind")
			}
			return nil, nil
		}
	}
	probe := func(path string) int {
		h := monitor.ReadyzHandler(m)
		if path == "/healthz" {
			h = monitor.HealthzHandler(m)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code
	}
	expect := func(what string, healthz, readyz int) {
		t.Helper()
		if h, r := probe("/healthz"), probe("/readyz"); h != healthz || r != readyz {
			t.Errorf("%s: healthz %d, readyz %d", what, h, r)
		}
	}
	expect("not started", 200, 503)
	start(t, m)
	l := register(t, m, "live", check(&live), monitor.OfKind(monitor.Live), monitor.Every(time.Hour))
	r := register(t, m, "ready", check(&ready), monitor.Every(time.Hour))
	register(t, m, "extra", check(new(atomic.Bool)), monitor.Critical(false), monitor.Every(time.Hour))
	run := func() {
		for _, h := range []monitor.HealthChecker{l, r} {
			_, _ = h.Run() // the state tells
		}
	}
	eventually(t, "all ran", func() bool {
		for _, c := range m.Health().Checks {
			if c.Status != monitor.CheckError {
				return false
			}
		}
		return true
	})
	expect("both fail", 503, 503)
	live.Store(true)
	run()
	expect("live passes", 200, 503)
	ready.Store(true)
	run()
	expect("both pass, one that is not critical fails", 200, 200)
	if err := m.Drain(); err != nil {
		t.Fatal(err)
	}
	expect("draining", 200, 503)
}
