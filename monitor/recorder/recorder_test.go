package recorder_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/monitor"
	"github.com/micro/go-platform/monitor/recorder"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

type request struct{}

func (request) Service() string { return "stock" }
func (request) Method() string  { return "Stock.Get" }

func TestReportsTellAll(t *testing.T) {
	m := recorder.NewMonitor(monitor.Server(server.NewServer(server.Name("shop"), server.Id("1"))))
	failing := func() (map[string]string, error) { return map[string]string{"rows": "7"}, errors.New("away") }
	if err := m.Register(m.NewHealthChecker("db", "orders can be read", failing, monitor.Every(time.Second))); err != nil {
		t.Fatal(err)
	}
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	rpctest.Eventually(t, "the check has failed", func() bool { return !m.Health().Ready() })
	m.RecordStat(request{}, 20*time.Millisecond, nil)
	m.RecordStat(request{}, time.Millisecond, errors.New("broken"))
	if err := m.Stop(); err != nil {
		t.Fatal(err)
	}
	all := m.Reports()
	last := all[len(all)-1]
	if last.Service != "shop" || last.Node != "shop-1" || last.Status != monitor.StatusStopped || last.Info["dropped.monitor"] != "0" {
		t.Errorf("last report: %+v", last)
	}
	if !slices.Equal(last.NotReady, []string{"stopped", "check db"}) {
		t.Errorf("not ready: %q", last.NotReady)
	}
	if len(last.Checks) != 1 {
		t.Fatalf("checks: %+v", last.Checks)
	}
	checkOfDB(t, last.Checks[0])
	endpoints := m.Endpoints()
	if len(endpoints) != 1 {
		t.Fatalf("endpoints: %+v", endpoints)
	}
	endpointOfStock(t, endpoints[0])
}

func checkOfDB(t *testing.T, c monitor.CheckState) {
	t.Helper()
	if c.Id != "db" || c.Description != "orders can be read" || c.Kind != monitor.Ready || !c.Critical ||
		c.Status != monitor.CheckError || c.Results["rows"] != "7" || c.Error != "away" || c.Every != time.Second || c.Time.IsZero() {
		t.Errorf("check: %+v", c)
	}
}

func endpointOfStock(t *testing.T, e recorder.Endpoint) {
	t.Helper()
	if e.Side != recorder.Unknown || e.Service != "stock" || e.Method != "Stock.Get" || e.Success.Count != 1 || e.Errors.Count != 1 || e.Dropped != (recorder.Calls{}) {
		t.Errorf("endpoint: %+v", e)
	}
	if d := e.Success.Max - 20*time.Millisecond; d.Abs() > time.Millisecond {
		t.Errorf("took %v, want 20ms", e.Success.Max)
	}
}
