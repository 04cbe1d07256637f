package monitor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/monitor"
	"github.com/micro/go-platform/monitor/recorder"
)

type request struct{ service, method string }

func (r request) Service() string { return r.service }
func (r request) Method() string  { return r.method }

// stopped runs a monitor, has f record and returns what was measured in all.
func stopped(t *testing.T, f func(monitor.Monitor), opts ...monitor.Option) []recorder.Endpoint {
	t.Helper()
	m := recorder.NewMonitor(append(opts, monitor.Server(idle("shop")))...)
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	f(m)
	if err := m.Stop(); err != nil {
		t.Fatal(err)
	}
	return m.Endpoints()
}

func TestRecordStatMeasures(t *testing.T) {
	all := stopped(t, func(m monitor.Monitor) {
		r := request{"stock", "Stock.Get"}
		for i := range 100 {
			m.RecordStat(r, time.Duration(i+1)*time.Millisecond, nil)
		}
		m.RecordStat(r, time.Second, merrors.InternalServerError("x", "broken"))
		m.RecordStat(r, time.Second, errors.New("broken"))
		m.RecordStat(r, time.Second, merrors.Timeout("x", "late"))
		m.RecordStat(r, time.Second, context.DeadlineExceeded)
		m.RecordStat(r, time.Second, merrors.Parse(merrors.Timeout("x", "late").Error()))
		m.RecordStat(r, 100*time.Millisecond, io.EOF)
		m.RecordStat(request{"stock", "Stock.Odd"}, -time.Second, nil)
		m.RecordStat(request{"stock", "Stock.Odd"}, math.MaxInt64, nil)
	})
	if len(all) != 2 {
		t.Fatalf("endpoints: %v", all)
	}
	if all[0].Method != "Stock.Get" {
		all[0], all[1] = all[1], all[0]
	}
	e := all[0]
	if e.Service != "stock" || e.Success.Count != 101 || e.Errors.Count != 2 || e.Dropped.Count != 3 {
		t.Errorf("counts: %v", e)
	}
	s := e.Success
	const ms = time.Millisecond
	for name, v := range map[string][2]time.Duration{
		"mean": {s.Mean, 51 * ms}, "deviation": {s.StdDev, 29100 * time.Microsecond}, "p50": {s.P50, 51 * ms}, "p95": {s.P95, 96 * ms},
		"p99": {s.P99, 100 * ms}, "max": {s.Max, 100 * ms}, "error mean": {e.Errors.Mean, 1000 * ms},
	} {
		if (v[0] - v[1]).Abs() > v[1]/50 {
			t.Errorf("%s: %v, want about %v", name, v[0], v[1])
		}
	}
	if odd := all[1].Success; odd.Count != 2 || odd.P50 > time.Microsecond || odd.Max < 290*time.Second {
		t.Errorf("odd durations: %v", odd)
	}
}

func TestRecordStatLosesNothingWhileWindowsEnd(t *testing.T) {
	const goroutines, each = 8, 20_000
	all := stopped(t, func(m monitor.Monitor) {
		var wg sync.WaitGroup
		for range goroutines {
			wg.Go(func() {
				for i := range each {
					m.RecordStat(request{"s", fmt.Sprint("M", i%20)}, time.Millisecond, nil)
				}
			})
		}
		wg.Wait()
	}, monitor.Interval(monitor.MinInterval))
	var total int64
	for _, e := range all {
		total += e.Success.Count
	}
	if total != goroutines*each {
		t.Errorf("%d records, want %d", total, goroutines*each)
	}
}

func TestEndpointsAreBounded(t *testing.T) {
	all := stopped(t, func(m monitor.Monitor) {
		for i := range 1000 {
			m.RecordStat(request{"s", fmt.Sprint("M", i)}, time.Millisecond, nil)
		}
		m.RecordStat(request{"s", strings.Repeat("x", 10_000)}, time.Millisecond, nil)
		m.RecordStat(nil, time.Millisecond, nil)
		m.RecordStat(request{"s", "M0"}, time.Millisecond, nil)
	}, monitor.MaxEndpoints(10))
	if len(all) != 11 {
		t.Fatalf("%d endpoints", len(all))
	}
	counts := map[string]int64{}
	for _, e := range all {
		counts[e.Method] = e.Success.Count
	}
	if counts[monitor.Overflow] != 992 || counts["M0"] != 2 {
		t.Errorf("counts: %v", counts)
	}
}

func TestIdleEndpointsMakeRoom(t *testing.T) {
	s := idle("shop") // go-micro's goroutines stay outside of the bubble
	synctest.Test(t, func(t *testing.T) { idleMakesRoom(t, s) })
}

func idleMakesRoom(t *testing.T, s server.Server) {
	t.Helper()
	m := recorder.NewMonitor(monitor.Server(s), monitor.Interval(monitor.MinInterval), monitor.MaxEndpoints(1))
	w := &world{t: t}
	w.run(m)
	m.RecordStat(request{"s", "First"}, time.Millisecond, nil)
	rpctest.Eventually(t, "the second endpoint has room", func() bool {
		m.RecordStat(request{"s", "Second"}, time.Millisecond, nil)
		for _, e := range m.Endpoints() {
			if e.Method == "Second" {
				return true
			}
		}
		return false
	})
}

func TestNamesAreCleaned(t *testing.T) {
	for _, e := range stopped(t, func(m monitor.Monitor) {
		m.RecordStat(request{"a\nb", "c\x1b[0m"}, time.Millisecond, nil)
	}) {
		if e.Service != "a b" || e.Method != "c [0m" {
			t.Errorf("endpoint: %q %q", e.Service, e.Method)
		}
	}
}
