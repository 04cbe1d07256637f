package srv_test

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/monitor"
	monitorsrv "github.com/micro/go-platform/monitor/internal/srv"
	pb "github.com/micro/go-platform/monitor/proto"
)

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func boot(t *testing.T, change ...func(*daemon.Config)) (*rpctest.Net, pb.MonitorService, *daemon.Running) {
	t.Helper()
	net := rpctest.New(t)
	srv := net.Boot(monitorsrv.Service(), change...)
	return net, pb.NewMonitorService(monitor.ServiceName, net.Client(rpctest.GRPC)), srv
}

func TestBadReportsAreRefused(t *testing.T) {
	_, api, _ := boot(t)
	long := strings.Repeat("x", 600)
	for name, change := range map[string]func(*pb.ReportRequest){
		"service: missing":              func(r *pb.ReportRequest) { r.Service = nil },
		"service.name: empty":           func(r *pb.ReportRequest) { r.Service.Name = "" },
		"service.name: newline":         func(r *pb.ReportRequest) { r.Service.Name = "a\nb" },
		"service.name: long":            func(r *pb.ReportRequest) { r.Service.Name = long },
		"service.nodes: none":           func(r *pb.ReportRequest) { r.Service.Nodes = nil },
		"service.nodes: two":            func(r *pb.ReportRequest) { r.Service.Nodes = append(r.Service.Nodes, r.Service.Nodes[0]) },
		"service.nodes.id: of another":  func(r *pb.ReportRequest) { r.Service.Nodes[0].Id = "bank-1" },
		"service.nodes.id: escape":      func(r *pb.ReportRequest) { r.Service.Nodes[0].Id = "a-\x1b" },
		"incarnation: none":             func(r *pb.ReportRequest) { r.Incarnation = "" },
		"interval_ms: zero":             func(r *pb.ReportRequest) { r.IntervalMs = 0 },
		"interval_ms: negative":         func(r *pb.ReportRequest) { r.IntervalMs = -1 },
		"interval_ms: long":             func(r *pb.ReportRequest) { r.IntervalMs = math.MaxInt64 },
		"current: missing":              func(r *pb.ReportRequest) { r.Current = nil },
		"status: UNKNOWN":               func(r *pb.ReportRequest) { r.Current.Status = 0 },
		"status: 99":                    func(r *pb.ReportRequest) { r.Current.Status = 99 },
		"statuses: many":                func(r *pb.ReportRequest) { r.Statuses = make([]*pb.Status, 65) },
		"checks: many":                  func(r *pb.ReportRequest) { r.Checks = make([]*pb.HealthCheck, 129) },
		"checks.id: empty":              func(r *pb.ReportRequest) { r.Checks = []*pb.HealthCheck{{}} },
		"checks.id: twice":              func(r *pb.ReportRequest) { r.Checks = []*pb.HealthCheck{{Id: "a"}, {Id: "a"}} },
		"checks.status: 9":              func(r *pb.ReportRequest) { r.Checks = []*pb.HealthCheck{{Id: "a", Status: 9}} },
		"checks.kind: 9":                func(r *pb.ReportRequest) { r.Checks = []*pb.HealthCheck{{Id: "a", Kind: 9}} },
		"stats: many":                   func(r *pb.ReportRequest) { r.Stats = make([]*pb.Stats, 33) },
		"stats.endpoints: many":         func(r *pb.ReportRequest) { r.Stats = []*pb.Stats{{Endpoints: make([]*pb.Endpoint, 1025)}} },
		"stats.endpoints: not a number": bad(&pb.Metrics{Mean: math.NaN()}),
		"stats.endpoints: infinite":     bad(&pb.Metrics{P99: math.Inf(1)}),
		"stats.endpoints: negative":     bad(&pb.Metrics{Max: -1}),
		"stats.endpoints: count":        bad(&pb.Metrics{Count: -1}),
		"not_ready: many":               func(r *pb.ReportRequest) { r.NotReady = make([]string, 200) },
		"report: large":                 func(r *pb.ReportRequest) { r.Service.Metadata = map[string]string{"k": strings.Repeat("x", 5<<20)} },
	} {
		_, err := api.Report(within(t), report("a", "1", 1, change))
		field, _, _ := strings.Cut(name, " ")
		if call.Code(err) != 400 || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if rsp, err := api.Services(within(t), &pb.ServicesRequest{}); err != nil || len(rsp.Services) != 0 {
		t.Errorf("bad reports left services: %v, %v", rsp, err)
	}
}

func bad(m *pb.Metrics) func(*pb.ReportRequest) {
	return func(r *pb.ReportRequest) {
		r.Stats = []*pb.Stats{{Endpoints: []*pb.Endpoint{{Success: m}}}}
	}
}

func TestQueries(t *testing.T) {
	_, api, _ := boot(t)
	for name, ids := range map[string][]string{"shop": {"1", "2", "3"}, "stock": {"1"}} {
		for _, id := range ids {
			r := report(name, id, 1, check("db", pb.HealthCheck_OK), check("evil", pb.HealthCheck_ERROR), calls("stock", 5, 0))
			r.Checks[1].Error = "<script>\n\x1b[2J"
			if id == "2" {
				notReady("check db")(r)
			}
			if _, err := api.Report(within(t), r); err != nil {
				t.Fatal(err)
			}
		}
	}
	failed, running, ok := pb.HealthCheck_ERROR, pb.Status_RUNNING, pb.Verdict_OK
	for name, c := range map[string]struct {
		query func() (int, error)
		want  int
	}{
		"all checks": {func() (int, error) {
			r, err := api.HealthChecks(within(t), &pb.HealthChecksRequest{})
			return len(r.GetHealthchecks()), err
		}, 8},
		"failed checks": {func() (int, error) {
			r, err := api.HealthChecks(within(t), &pb.HealthChecksRequest{Status: &failed, Service: "shop"})
			return len(r.GetHealthchecks()), err
		}, 3},
		"a page": {func() (int, error) {
			r, err := api.HealthChecks(within(t), &pb.HealthChecksRequest{Limit: 3, Offset: 6})
			return len(r.GetHealthchecks()), err
		}, 2},
		"past the end": {func() (int, error) {
			r, err := api.HealthChecks(within(t), &pb.HealthChecksRequest{Offset: math.MaxInt64})
			return len(r.GetHealthchecks()), err
		}, 0},
		"huge limit": {func() (int, error) {
			r, err := api.HealthChecks(within(t), &pb.HealthChecksRequest{Limit: math.MaxInt64})
			return len(r.GetHealthchecks()), err
		}, 8},
		"services": {func() (int, error) {
			r, err := api.Services(within(t), &pb.ServicesRequest{})
			return len(r.GetServices()), err
		}, 2},
		"one service": {func() (int, error) {
			r, err := api.Services(within(t), &pb.ServicesRequest{Service: "shop"})
			return len(r.Services[0].Nodes), err
		}, 3},
		"running": {func() (int, error) {
			r, err := api.Status(within(t), &pb.StatusRequest{Status: &running})
			return len(r.GetStatuses()), err
		}, 4},
		"one node": {func() (int, error) {
			r, err := api.Status(within(t), &pb.StatusRequest{Node: "shop-2"})
			return len(r.Statuses[0].NotReady), err
		}, 1},
		"stats": {func() (int, error) {
			r, err := api.Stats(within(t), &pb.StatsRequest{Service: "shop"})
			return len(r.GetStats()), err
		}, 3},
		"verdicts": {func() (int, error) {
			r, err := api.Verdicts(within(t), &pb.VerdictsRequest{Service: "shop"})
			return len(r.GetVerdicts()), err
		}, 1},
		"verdicts by ok": {func() (int, error) {
			r, err := api.Verdicts(within(t), &pb.VerdictsRequest{State: &ok})
			return len(r.GetVerdicts()), err
		}, 0},
	} {
		if got, err := c.query(); err != nil || got != c.want {
			t.Errorf("%s: %d, %v, want %d", name, got, err, c.want)
		}
	}
	rsp, err := api.HealthChecks(within(t), &pb.HealthChecksRequest{Id: "evil", Limit: 1})
	if err != nil || rsp.Healthchecks[0].Error != "<script>  [2J" {
		t.Errorf("control characters: %v, %v", rsp, err)
	}
	for name, err := range map[string]error{
		"limit":  second(api.HealthChecks(within(t), &pb.HealthChecksRequest{Limit: -1})),
		"offset": second(api.Services(within(t), &pb.ServicesRequest{Offset: -1})),
		"from":   second(api.History(within(t), &pb.HistoryRequest{FromMs: -1})),
		"check":  second(api.History(within(t), &pb.HistoryRequest{Check: "a\x00"})),
	} {
		if call.Code(err) != 400 || !strings.Contains(err.Error(), name) {
			t.Errorf("bad %s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestForgedTopicsChangeNoRoute(t *testing.T) {
	net, api, _ := boot(t)
	if _, err := api.Report(within(t), report("shop", "1", 1)); err != nil {
		t.Fatal(err)
	}
	c := net.Client(rpctest.GRPC)
	forge := func(topic string, m proto.Message) {
		t.Helper()
		if err := c.Publish(within(t), c.NewMessage(topic, m)); err != nil && !strings.Contains(err.Error(), "invalid") {
			t.Fatal(err)
		}
	}
	forge(monitor.StatusTopic, &pb.Status{Service: service("shop", "1"), Status: pb.Status_STOPPED, NotReady: []string{"forged"}})
	forge(monitor.HealthCheckTopic, &pb.HealthCheck{Service: service("shop", "1"), Id: "db", Status: pb.HealthCheck_ERROR, Critical: true})
	forge(monitor.StatsTopic, &pb.Stats{Service: service("shop", "1"), Cpu: &pb.CPU{UserTime: 99}})
	forge(monitor.StatusTopic, &pb.Status{Service: service("shop\n", "2"), Status: pb.Status_RUNNING})
	forge(monitor.StatusTopic, &pb.Status{})
	forge(monitor.HealthCheckTopic, &pb.HealthCheck{})
	forge(monitor.StatsTopic, &pb.Stats{})
	// A node that reports by topics alone is shown.
	forge(monitor.StatusTopic, &pb.Status{Service: service("old", "1"), Status: pb.Status_DRAINING, Interval: 60, NotReady: []string{"forged"}})
	forge(monitor.HealthCheckTopic, &pb.HealthCheck{Service: service("old", "1"), Id: "db", Status: pb.HealthCheck_ERROR, Interval: 60})
	forge(monitor.StatsTopic, &pb.Stats{Service: service("old", "1"), Interval: 60})
	rpctest.Eventually(t, "the old node is known", func() bool {
		s, err := api.Status(within(t), &pb.StatusRequest{Node: "old-1"})
		h, herr := api.HealthChecks(within(t), &pb.HealthChecksRequest{Service: "old"})
		x, xerr := api.Stats(within(t), &pb.StatsRequest{Service: "old"})
		return err == nil && herr == nil && xerr == nil && len(s.Statuses) == 1 && len(h.Healthchecks) == 1 && len(x.Stats) == 1
	})
	s, err := api.Status(within(t), &pb.StatusRequest{Service: "shop"})
	if err != nil || len(s.Statuses) != 1 || s.Statuses[0].Status != pb.Status_RUNNING {
		t.Errorf("status: %v, %v", s, err)
	}
	if h, _ := api.HealthChecks(within(t), &pb.HealthChecksRequest{Service: "shop"}); len(h.Healthchecks) != 0 { // an error shows below
		t.Errorf("checks: %v", h)
	}
	if x, _ := api.Stats(within(t), &pb.StatsRequest{Service: "shop"}); len(x.Stats) != 0 { // an error shows below
		t.Errorf("stats: %v", x)
	}
	stream, err := api.Watch(within(t), &pb.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close() // the test is over
	if first, err := stream.Recv(); err != nil || !first.Snapshot || len(first.Set) != 0 {
		t.Errorf("not ready: %v, %v", first, err)
	}
}

func nodes(set []*pb.NotReady) (names []string) {
	for _, n := range set {
		names = append(names, n.Node)
	}
	return names
}

func TestWatchTellsWhatChanged(t *testing.T) {
	_, api, srv := boot(t)
	if _, err := api.Report(within(t), report("shop", "1", 1, notReady("check db"))); err != nil {
		t.Fatal(err)
	}
	stream, err := api.Watch(within(t), &pb.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close() // the test is over
	first, err := stream.Recv()
	if err != nil || !first.Snapshot || len(first.Set) != 1 || first.Set[0].Node != "shop-1" || first.Set[0].Service != "shop" {
		t.Fatalf("snapshot: %v, %v", first, err)
	}
	for i, step := range []struct {
		id      string
		reasons []string
		want    string
	}{
		{"2", []string{"draining"}, "[shop-2] []"},
		{"1", nil, "[] [shop-1]"},
		{"2", nil, "[] [shop-2]"},
	} {
		if _, err := api.Report(within(t), report("shop", step.id, uint64(i+2), notReady(step.reasons...))); err != nil {
			t.Fatal(err)
		}
		change, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(nodes(change.Set), " ", change.Removed); got != step.want || change.Snapshot || change.Previous != first.Revision || change.Revision <= change.Previous {
			t.Errorf("step %d: %v", i, change)
		}
		first = change
	}
	if alive, err := stream.Recv(); err != nil || len(alive.Set)+len(alive.Removed) != 0 || alive.Revision != first.Revision {
		t.Errorf("sign of life: %v, %v", alive, err)
	}
	if err := srv.Stop(); err != nil {
		t.Fatal(err)
	}
	if more, err := stream.Recv(); err == nil {
		t.Errorf("after the service stopped: %v", more)
	}
}

func TestRestartKeepsHistoryAndLastKnown(t *testing.T) {
	dir := t.TempDir()
	file := func(c *daemon.Config) { c.DatabaseURL = "sqlite://" + filepath.Join(dir, "m.db") }
	net, api, srv := boot(t, file)
	r := report("shop", "1", 1)
	r.IntervalMs = 100
	if _, err := api.Report(within(t), r); err != nil {
		t.Fatal(err)
	}
	if err := srv.Stop(); err != nil {
		t.Fatal(err)
	}
	net.Boot(monitorsrv.Service(), file)
	api = pb.NewMonitorService(monitor.ServiceName, net.Client(rpctest.GRPC))
	h, err := api.History(within(t), &pb.HistoryRequest{Service: "shop"})
	if err != nil || len(h.Transitions) != 1 || h.Transitions[0].To != "RUNNING" {
		t.Fatalf("history: %v, %v", h, err)
	}
	s, err := api.Status(within(t), &pb.StatusRequest{Service: "shop"})
	if err != nil || len(s.Statuses) != 1 || s.Statuses[0].Status != pb.Status_RUNNING || s.Statuses[0].Service.Nodes[0].Address != "10.0.0.1" {
		t.Errorf("last known: %v, %v", s, err)
	}
}

func TestASilentNodeIsUnknown(t *testing.T) {
	_, api, _ := boot(t)
	r := report("shop", "1", 1, check("db", pb.HealthCheck_OK))
	r.IntervalMs = 100
	if _, err := api.Report(within(t), r); err != nil {
		t.Fatal(err)
	}
	rpctest.Eventually(t, "the node is UNKNOWN, and so are its checks", func() bool {
		s, err := api.Status(within(t), &pb.StatusRequest{Node: "shop-1"})
		h, herr := api.HealthChecks(within(t), &pb.HealthChecksRequest{Node: "shop-1"})
		return err == nil && herr == nil && s.Statuses[0].Status == pb.Status_UNKNOWN && h.Healthchecks[0].Status == pb.HealthCheck_UNKNOWN
	})
	rpctest.Eventually(t, "history", func() bool {
		h, err := api.History(within(t), &pb.HistoryRequest{Node: "shop-1", To: "UNKNOWN"})
		return err == nil && len(h.Transitions) == 1 && strings.Contains(h.Transitions[0].Detail, "no report")
	})
}

func TestRetentionIsChecked(t *testing.T) {
	var out rpctest.Buffer
	code := daemon.Run(t.Context(), monitorsrv.Service(), []string{"monitor-srv", "--insecure", "--registry", "memory",
		"--broker", "memory", "--data_dir", t.TempDir(), "--retention", "1s"}, &out, &out)
	if code == 0 || !strings.Contains(out.String(), "retention") {
		t.Errorf("code %d: %s", code, &out)
	}
}

func FuzzReport(f *testing.F) {
	for _, r := range []*pb.ReportRequest{
		report("a", "1", 1, check("db", pb.HealthCheck_ERROR), calls("b", 1, 2), notReady("x\ny")), {},
		report("a\xff", "1", 1, bad(&pb.Metrics{Mean: math.Inf(-1)})),
	} {
		wire, err := proto.Marshal(r)
		if err != nil {
			continue // not UTF-8: the fuzzer finds its own
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		r := &pb.ReportRequest{}
		if proto.Unmarshal(wire, r) != nil || monitorsrv.CheckReport(r) != nil {
			return
		}
		s := monitorsrv.NewState(func(monitorsrv.Change) {})
		now := time.Now()
		if err := s.Report(r, "host", now); err != nil {
			t.Fatalf("a valid report is refused: %v", err)
		}
		s.Verdicts(now)
		s.Sweep(now.Add(24 * time.Hour))
		if n := s.Nodes(); n != 0 {
			t.Fatalf("%d nodes for ever", n)
		}
	})
}
