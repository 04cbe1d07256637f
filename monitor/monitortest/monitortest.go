// Package monitortest is the suite that every monitor passes.
package monitortest

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/lifecycle/lifecycletest"
	"github.com/micro/go-platform/monitor"
)

// New returns a monitor that was not started, with opts after the options that it
// needs. The suite stops it.
type New func(t testing.TB, opts ...monitor.Option) monitor.Monitor

// Run runs the suite.
func Run(t *testing.T, newMonitor New) {
	t.Helper()
	t.Run("Lifecycle", func(t *testing.T) {
		lifecycletest.Run(t, lifecycletest.Case[monitor.Monitor, monitor.Option]{
			New:       newMonitor,
			Call:      func(m monitor.Monitor) error { m.RecordStat(request{}, time.Millisecond, nil); return nil },
			Dropped:   monitor.Monitor.Dropped,
			Bad:       monitor.MaxEndpoints(0),
			Text:      "monitor: option MaxEndpoints: 0 is not within 1 to 512",
			NilLogger: monitor.Logger(nil),
		})
	})
	for name, test := range map[string]func(*testing.T, New){
		"Registration": testRegistration, "BadChecks": testBadChecks, "BadOptions": testBadOptions,
		"Hung": testHung, "HungAtStop": testHungAtStop, "Late": testLate, "Panic": testPanic, "NoOverlap": testNoOverlap,
		"Thresholds": testThresholds, "Startup": testStartup, "Foreign": testForeign,
		"Status": testStatus, "FirstCall": testFirstCall, "AfterStop": testAfterStop, "Probes": testProbes, "HostileValues": testHostileValues,
	} {
		t.Run(name, func(t *testing.T) { test(t, newMonitor) })
	}
}

func ok() (map[string]string, error) { return map[string]string{"rows": "7"}, nil }

func started(t *testing.T, newMonitor New, opts ...monitor.Option) monitor.Monitor {
	t.Helper()
	m := newMonitor(t, opts...)
	start(t, m)
	return m
}

// start starts m and stops it at the end; a test that stops it itself has
// looked at the error.
func start(t *testing.T, m monitor.Monitor) {
	t.Helper()
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Stop() }) // the test looked at it, or has failed
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func register(t *testing.T, m monitor.Monitor, id string, fn monitor.HealthCheck, opts ...monitor.CheckOption) monitor.HealthChecker {
	t.Helper()
	h := m.NewHealthChecker(id, "a "+id, fn, opts...)
	if err := m.Register(h); err != nil {
		t.Fatal(err)
	}
	return h
}

func state(m monitor.Monitor, id string) monitor.CheckState {
	for _, c := range m.Health().Checks {
		if c.Id == id {
			return c
		}
	}
	return monitor.CheckState{}
}

func testRegistration(t *testing.T, newMonitor New) {
	m := started(t, newMonitor)
	b := register(t, m, "b", ok)
	register(t, m, "a", ok)
	if err := m.Register(m.NewHealthChecker("a", "", ok)); !errors.Is(err, monitor.ErrAlreadyExists) {
		t.Errorf("second check of an id: %v", err)
	}
	all, err := m.HealthChecks()
	if err != nil || len(all) != 2 || all[0].Id() != "a" || all[1] != b || b.Description() != "a b" {
		t.Fatalf("checks: %v, %v", all, err)
	}
	eventually(t, "the check ran by itself", func() bool {
		results, err := b.Status()
		return err == nil && results["rows"] == "7"
	})
	if err := m.Deregister(b); err != nil {
		t.Error(err)
	}
	if err := m.Deregister(b); !errors.Is(err, monitor.ErrNotAvailable) {
		t.Errorf("deregister twice: %v", err)
	}
	if all, err := m.HealthChecks(); err != nil || len(all) != 1 {
		t.Errorf("%d checks are left", len(all))
	}
}

// hollow is a check of a user's whose methods panic.
type hollow struct{ monitor.HealthChecker }

func testBadChecks(t *testing.T, newMonitor New) {
	m := started(t, newMonitor)
	for name, h := range map[string]monitor.HealthChecker{
		"nil":            nil,
		"nil pointer":    (*hollow)(nil),
		"id of nothing":  &hollow{},
		"id":             m.NewHealthChecker("", "", ok),
		"id newline":     m.NewHealthChecker("a\nb", "", ok),
		"id long":        m.NewHealthChecker(strings.Repeat("x", 129), "", ok),
		"function":       m.NewHealthChecker("x", "", nil),
		"Every":          m.NewHealthChecker("x", "", ok, monitor.Every(time.Millisecond)),
		"Every negative": m.NewHealthChecker("x", "", ok, monitor.Every(-1)),
		"Within":         m.NewHealthChecker("x", "", ok, monitor.Within(time.Hour)),
		"FailAfter":      m.NewHealthChecker("x", "", ok, monitor.FailAfter(0)),
		"PassAfter":      m.NewHealthChecker("x", "", ok, monitor.PassAfter(101)),
		"OfKind":         m.NewHealthChecker("x", "", ok, monitor.OfKind(9)),
	} {
		err := m.Register(h)
		field, _, _ := strings.Cut(name, " ")
		if !errors.Is(err, monitor.ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all, err := m.HealthChecks(); err != nil || len(all) != 0 {
		t.Errorf("%d bad checks were registered", len(all))
	}
	for _, h := range []monitor.HealthChecker{nil, (*hollow)(nil), &hollow{}} {
		if err := m.Deregister(h); !errors.Is(err, monitor.ErrInvalid) {
			t.Errorf("Deregister %T: %v", h, err)
		}
	}
	if _, err := m.NewHealthChecker("x", "", nil).Run(); !errors.Is(err, monitor.ErrInvalid) {
		t.Errorf("run of nothing: %v", err)
	}
}

func testBadOptions(t *testing.T, newMonitor New) {
	for name, opt := range map[string]monitor.Option{
		"Interval":     monitor.Interval(time.Millisecond),
		"MaxEndpoints": monitor.MaxEndpoints(0),
		"WatchLoss":    monitor.WatchLoss("a\nb", nil),
	} {
		m := newMonitor(t, opt)
		if err := m.Start(); !errors.Is(err, monitor.ErrInvalid) || !strings.HasPrefix(err.Error(), "monitor: option "+name+": ") {
			t.Errorf("%s: %v", name, err)
		}
		if err := m.Stop(); err != nil {
			t.Errorf("stop after a failed start: %v", err)
		}
	}
}

// block returns a check that hangs until release is called.
func block() (fn monitor.HealthCheck, runs *atomic.Int32, release func()) {
	held, runs := make(chan struct{}), new(atomic.Int32)
	return func() (map[string]string, error) {
		runs.Add(1)
		<-held
		return nil, nil
	}, runs, func() { close(held) }
}

func testHung(t *testing.T, newMonitor New) {
	m := newMonitor(t, monitor.Interval(100*time.Millisecond))
	fn, runs, release := block()
	h := register(t, m, "db", fn, monitor.Within(20*time.Millisecond))
	if _, err := h.Status(); !errors.Is(err, monitor.ErrNotAvailable) {
		t.Errorf("status before the first run: %v", err)
	}
	start(t, m)
	eventually(t, "the hung check is in error", func() bool { return state(m, "db").Status == monitor.CheckError })
	if m.Health().Ready() {
		t.Error("ready while a critical check hangs")
	}
	first := state(m, "db").Time
	eventually(t, "it is still in error at a later interval", func() bool {
		s := state(m, "db")
		return s.Time.After(first) && s.Status == monitor.CheckError
	})
	if _, err := h.Run(); !errors.Is(err, monitor.ErrTimeout) {
		t.Errorf("run: %v", err)
	}
	if n := runs.Load(); n != 1 {
		t.Errorf("%d runs hang, want 1", n)
	}
	release()
}

func testHungAtStop(t *testing.T, newMonitor New) {
	m := newMonitor(t)
	fn, runs, release := block()
	register(t, m, "db", fn)
	start(t, m)
	eventually(t, "the check runs", func() bool { return runs.Load() == 1 })
	begun := time.Now()
	if err := m.Stop(); err == nil || !strings.Contains(err.Error(), "db") {
		t.Errorf("stop with a hung check: %v", err)
	}
	if d := time.Since(begun); d > 8*time.Second {
		t.Errorf("stop took %v", d)
	}
	release()
}

// What comes after the deadline is not a sign of health.
func testLate(t *testing.T, newMonitor New) {
	m := newMonitor(t)                 // not started: only Run runs it
	t.Cleanup(func() { _ = m.Stop() }) // the test looked at it, or has failed
	var h monitor.HealthChecker
	var runs atomic.Int32
	held, second := make(chan struct{}), make(chan error, 1)
	h = register(t, m, "db", func() (map[string]string, error) {
		switch runs.Add(1) {
		case 1:
			<-held
		case 2: // the first is over now
			_, err := h.Status()
			second <- err
		}
		return nil, nil
	}, monitor.Within(10*time.Millisecond))
	if _, err := h.Run(); !errors.Is(err, monitor.ErrTimeout) {
		t.Fatalf("run: %v", err)
	}
	close(held)
	eventually(t, "a run in time passes", func() bool {
		_, err := h.Run()
		return err == nil
	})
	if err := <-second; !errors.Is(err, monitor.ErrTimeout) {
		t.Errorf("after the late run: %v", err)
	}
}

func testPanic(t *testing.T, newMonitor New) {
	m := started(t, newMonitor)
	h := register(t, m, "db", func() (map[string]string, error) { panic("no driver") })
	if _, err := h.Run(); err == nil || !strings.Contains(err.Error(), "no driver") {
		t.Errorf("run: %v", err)
	}
	eventually(t, "the check is in error", func() bool { return state(m, "db").Status == monitor.CheckError })
}

func testNoOverlap(t *testing.T, newMonitor New) {
	m := started(t, newMonitor, monitor.Interval(100*time.Millisecond))
	var now, most, runs atomic.Int32
	h := register(t, m, "db", func() (map[string]string, error) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		runs.Add(1)
		time.Sleep(5 * time.Millisecond) // the work of a check
		return nil, nil
	})
	done := make(chan struct{})
	for range 4 {
		go func() {
			for range 10 {
				_, _ = h.Run() // the counters tell
			}
			done <- struct{}{}
		}()
	}
	for range 4 {
		<-done
	}
	if most.Load() != 1 || runs.Load() < 10 {
		t.Errorf("%d runs at once, %d in all", most.Load(), runs.Load())
	}
}

func testThresholds(t *testing.T, newMonitor New) {
	m := newMonitor(t)                 // not started: only Run runs it
	t.Cleanup(func() { _ = m.Stop() }) // the test looked at it, or has failed
	var fail atomic.Bool
	h := register(t, m, "db", func() (map[string]string, error) {
		if fail.Load() {
			return nil, errors.New("away")
		}
		return nil, nil
	}, monitor.FailAfter(3), monitor.PassAfter(2))
	for i, step := range []struct {
		fail bool
		want monitor.CheckStatus
	}{
		{false, monitor.CheckOK},
		{true, monitor.CheckOK}, {true, monitor.CheckOK}, {false, monitor.CheckOK},
		{true, monitor.CheckOK}, {true, monitor.CheckOK}, {true, monitor.CheckError},
		{false, monitor.CheckError}, {true, monitor.CheckError},
		{false, monitor.CheckError}, {false, monitor.CheckOK},
	} {
		fail.Store(step.fail)
		if _, err := h.Run(); (err != nil) != step.fail {
			t.Fatalf("step %d: %v", i, err)
		}
		if got := state(m, "db").Status; got != step.want {
			t.Fatalf("step %d: %v, want %v", i, got, step.want)
		}
	}
}

func testStartup(t *testing.T, newMonitor New) {
	m := newMonitor(t, monitor.Interval(100*time.Millisecond))
	var ready atomic.Bool
	var runs atomic.Int32
	register(t, m, "warm", func() (map[string]string, error) {
		runs.Add(1)
		if !ready.Load() {
			return nil, errors.New("cold")
		}
		return nil, nil
	}, monitor.OfKind(monitor.Startup))
	start(t, m)
	eventually(t, "it ran", func() bool { return runs.Load() > 0 })
	if h := m.Health(); h.Ready() || !h.Live || h.Status != monitor.StatusStarted {
		t.Errorf("before the startup check passed: %+v", h)
	}
	ready.Store(true)
	eventually(t, "the service runs", func() bool {
		h := m.Health()
		return h.Ready() && h.Status == monitor.StatusRunning
	})
}

type foreign struct{ fn monitor.HealthCheck }

func (f foreign) Id() string                         { return "foreign" }
func (f foreign) Description() string                { return "of another package" }
func (f foreign) Run() (map[string]string, error)    { return f.fn() }
func (f foreign) Status() (map[string]string, error) { return nil, monitor.ErrNotAvailable }

func testForeign(t *testing.T, newMonitor New) {
	m := started(t, newMonitor)
	if err := m.Register(foreign{func() (map[string]string, error) { panic("x") }}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a foreign check is run with a net below", func() bool { return state(m, "foreign").Status == monitor.CheckError })
	if err := m.Deregister(foreign{}); err != nil {
		t.Error(err)
	}
}
