package monitor_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/monitor"
	monitorsrv "github.com/micro/go-platform/monitor/internal/srv"
	pb "github.com/micro/go-platform/monitor/proto"
	"github.com/micro/go-platform/monitor/recorder"
)

type dropped uint64

func (d dropped) Dropped() uint64 { return uint64(d) }

func TestEveryStatusArrivesBeforeStopReturns(t *testing.T) {
	t.Parallel() // it waits, and has a network of its own
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		w := newWorld(t)
		m, id := w.serve(stack, "shop", monitor.Interval(time.Hour), monitor.WatchLoss("trace", dropped(12)))
		rpctest.Eventually(t, "it runs", func() bool { return w.statusOf(id) == pb.Status_RUNNING })
		s := w.fullStatus(id)
		if s.Details["dropped.trace"] != "12" || s.Info != "dropped.monitor=0, dropped.trace=12" || s.Interval != 3600 || s.Ttl != 3*3600 {
			t.Errorf("status: %v", s)
		}
		if n := s.Service.Nodes[0]; n.Port == 0 || n.Address != "127.0.0.1" || s.Service.Version != "test" {
			t.Errorf("service: %v", s.Service)
		}
		if err := m.Stop(); err != nil {
			t.Fatal(err)
		}
		if got := w.statusOf(id); got != pb.Status_STOPPED {
			t.Errorf("after Stop: %v", got)
		}
		w.eventuallyHistory(id, "", "STARTED", "RUNNING", "DRAINING", "STOPPED")
		if m.Dropped() != 0 {
			t.Errorf("%d dropped", m.Dropped())
		}
	})
}

func TestChangesOfChecksAreReportedAtOnce(t *testing.T) {
	w := newWorld(t)
	m, id := w.serve(rpctest.GRPC, "shop", monitor.Interval(time.Hour))
	var bad atomic.Bool
	h := m.NewHealthChecker("db", "the\ndatabase", func() (map[string]string, error) {
		if bad.Load() {
			return map[string]string{"rows": "none"}, errors.New("line one\nline two")
		}
		return nil, nil
	})
	if err := m.Register(h); err != nil {
		t.Fatal(err)
	}
	find := func(status pb.HealthCheck_Status) []*pb.HealthCheck {
		rsp, err := w.api.HealthChecks(w.context(), &pb.HealthChecksRequest{Service: "shop", Id: "db", Status: &status})
		if err != nil {
			t.Fatal(err)
		}
		return rsp.Healthchecks
	}
	rpctest.Eventually(t, "the check is well", func() bool { return len(find(pb.HealthCheck_OK)) == 1 })
	bad.Store(true)
	_, _ = h.Run() // its error is the point
	rpctest.Eventually(t, "the check is in error", func() bool { return len(find(pb.HealthCheck_ERROR)) == 1 })
	c := find(pb.HealthCheck_ERROR)[0]
	if c.Description != "the database" || c.Error != "line one line two" || c.Results["rows"] != "none" ||
		c.Service.Nodes[0].Id != id || c.Timestamp == 0 || !c.Critical {
		t.Errorf("check: %v", c)
	}
	w.eventuallyHistory(id, "db", "OK", "ERROR")
	if err := m.Deregister(h); err != nil {
		t.Fatal(err)
	}
	rpctest.Eventually(t, "the check is gone", func() bool { return len(find(pb.HealthCheck_ERROR)) == 0 })
}

func TestHealsWhenTheServerAppears(t *testing.T) {
	t.Parallel() // it waits, and has a network of its own
	net := rpctest.New(t)
	w := &world{Net: net, t: t, api: pb.NewMonitorService(monitor.ServiceName, net.Client(rpctest.GRPC))}
	m, id := w.serve(rpctest.GRPC, "shop")
	if err := m.Register(m.NewHealthChecker("db", "", func() (map[string]string, error) { return nil, nil })); err != nil {
		t.Fatal(err)
	}
	rpctest.Eventually(t, "windows wait", func() bool { return m.Health().Status == monitor.StatusRunning })
	net.Boot(monitorsrv.Service())
	rpctest.Eventually(t, "the server hears of the node", func() bool { return w.statusOf(id) == pb.Status_RUNNING })
	// Also what came before the server; a topic may have told it of RUNNING first.
	rpctest.Eventually(t, "what came before the server is told", func() bool {
		h := w.history(id, "")
		return slices.Equal(h[max(0, len(h)-2):], []string{"STARTED", "RUNNING"})
	})
	if err := m.Stop(); err != nil || m.Dropped() != 0 {
		t.Errorf("stop: %v, dropped %d", err, m.Dropped())
	}
}

func TestServerRestart(t *testing.T) {
	t.Parallel() // it waits, and has a network of its own
	net := rpctest.New(t)
	w := &world{Net: net, t: t, api: pb.NewMonitorService(monitor.ServiceName, net.Client(rpctest.GRPC))}
	srv := net.Boot(monitorsrv.Service())
	_, id := w.serve(rpctest.GRPC, "shop")
	// A few reports in, go-micro's cache of the registry follows changes.
	rpctest.Eventually(t, "it reports", func() bool { return w.windows(id) >= 3 })
	if err := srv.Stop(); err != nil {
		t.Fatal(err)
	}
	net.Boot(monitorsrv.Service()) // with an empty database
	rpctest.Eventually(t, "the new server knows the node", func() bool { return w.statusOf(id) == pb.Status_RUNNING })
}

func TestStopWithoutServerIsBoundedAndSaysWhatIsLost(t *testing.T) {
	net := rpctest.New(t)
	m := monitor.NewMonitor(monitor.Client(net.Client(rpctest.GRPC)), monitor.Server(idle("shop")), monitor.Logger(net.Logger))
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := m.Stop(); !errors.Is(err, monitor.ErrLost) || !strings.HasPrefix(err.Error(), "monitor: lost ") {
		t.Errorf("stop: %v", err)
	}
	if d := time.Since(begun); d > 8*time.Second {
		t.Errorf("stop took %v", d)
	}
	if m.Dropped() == 0 {
		t.Error("nothing counted as dropped")
	}
}

func TestStopIsBoundedWhenTheReporterHangs(t *testing.T) {
	s := idle("shop") // go-micro's goroutines stay outside of the bubble
	synctest.Test(t, func(t *testing.T) { stopWithHangingReporter(t, s) })
}

func stopWithHangingReporter(t *testing.T, s server.Server) {
	t.Helper()
	m := monitor.NewMonitor(monitor.Server(s), monitor.WithReporter(hanging{}))
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := m.Stop(); err == nil {
		t.Error("no error")
	}
	if d := time.Since(begun); d > 8*time.Second {
		t.Errorf("stop took %v", d)
	}
}

type hanging struct{}

func (hanging) Report(ctx context.Context, _ *pb.ReportRequest) error { <-ctx.Done(); return ctx.Err() }
func (hanging) String() string                                        { return "hanging" }

func TestQueueIsBoundedAndCounts(t *testing.T) {
	s := idle("shop") // go-micro's goroutines stay outside of the bubble
	synctest.Test(t, func(t *testing.T) { overflowQueue(t, s) })
}

func overflowQueue(t *testing.T, s server.Server) {
	t.Helper()
	m := recorder.NewMonitor(monitor.Server(s), monitor.Interval(monitor.MinInterval))
	m.FailWith(errors.New("away"))
	w := &world{t: t}
	w.run(m)
	rpctest.Eventually(t, "windows are dropped", func() bool { return m.Dropped() > 0 })
	m.FailWith(nil)
	rpctest.Eventually(t, "it recovers", func() bool { return len(m.Reports()) > 4 })
	if err := m.Stop(); err != nil {
		t.Error(err)
	}
	got := m.Statuses()
	if len(got) != 4 || got[0] != monitor.StatusStarted || got[1] != monitor.StatusRunning || got[3] != monitor.StatusStopped {
		t.Errorf("statuses: %v", got)
	}
}

// Old subscribers, and a server that only topics reach, still hear something.
func TestTopicsCarryWhatTheServerCannotTake(t *testing.T) {
	t.Parallel() // it waits, and has a network of its own
	net := rpctest.New(t)
	s := net.Server(rpctest.GRPC, "listener")
	var statuses, checks, stats atomic.Int32
	for topic, f := range map[string]any{
		monitor.StatusTopic: func(_ context.Context, m *pb.Status) error {
			if m.Service.Name == "shop" {
				statuses.Add(1)
			}
			return nil
		},
		monitor.HealthCheckTopic: func(_ context.Context, m *pb.HealthCheck) error {
			if m.Service.Name == "shop" && m.Id == "db" {
				checks.Add(1)
			}
			return nil
		},
		monitor.StatsTopic: func(_ context.Context, m *pb.Stats) error {
			if m.Runtime.Goroutines > 0 && m.Memory.MaxRss > 1<<20 && m.Cpu.UserTime > 0 && m.Runtime.HeapInUse > 0 {
				stats.Add(1)
			}
			return nil
		},
	} {
		if err := s.Subscribe(s.NewSubscriber(topic, f)); err != nil {
			t.Fatal(err)
		}
	}
	net.Start(s)
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		statuses.Store(0)
		checks.Store(0)
		stats.Store(0)
		w := &world{Net: net, t: t}
		m, _ := w.serve(stack, "shop")
		if err := m.Register(m.NewHealthChecker("db", "", func() (map[string]string, error) { return nil, nil })); err != nil {
			t.Fatal(err)
		}
		rpctest.Eventually(t, "all three topics", func() bool {
			return statuses.Load() >= 2 && checks.Load() > 0 && stats.Load() > 0
		})
	})
}

// A client of the user's may have no broker: then the topics are not fed.
func TestAClientWithoutABroker(t *testing.T) {
	net := rpctest.New(t)
	own := net.Broker
	net.Broker = nil
	c := net.Client(rpctest.GRPC)
	net.Broker = own
	m := monitor.NewMonitor(monitor.Client(c), monitor.Server(idle("shop")), monitor.Logger(slog.New(slog.DiscardHandler)), monitor.Interval(monitor.MinInterval))
	w := &world{Net: net, t: t, api: pb.NewMonitorService(monitor.ServiceName, net.Client(rpctest.GRPC))}
	w.run(m)
	rpctest.Eventually(t, "it is away", func() bool { return m.Dropped() > 0 })
	net.Boot(monitorsrv.Service())
	rpctest.Eventually(t, "the server hears of the node", func() bool { return w.statusOf("shop-1") == pb.Status_RUNNING })
}

func TestTLS(t *testing.T) {
	net := rpctest.New(t)
	running := net.Boot(monitorsrv.Service())
	rpctest.Handshakes(t, running.Address(), func(t *testing.T, addr string, c *tls.Config) error {
		there := rpctest.New(t)
		front := &registry.Service{Name: monitor.ServiceName, Nodes: []*registry.Node{{Id: "front", Address: addr}}}
		if err := there.Registry.Register(front); err != nil {
			t.Fatal(err)
		}
		m := monitor.NewMonitor(monitor.Client(there.Client(rpctest.RPC)), monitor.Server(idle("shop")), monitor.TLS(c),
			monitor.Logger(slog.New(slog.DiscardHandler)))
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		return m.Stop()
	})
}
