package srv_test

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/internal/rpcerr"
	monitorsrv "github.com/micro/go-platform/monitor/internal/srv"
	pb "github.com/micro/go-platform/monitor/proto"
)

// fleet is a State with a clock and a history.
type fleet struct {
	monitorsrv.State
	t       *testing.T
	now     time.Time
	changes []string
}

func newFleet(t *testing.T) *fleet {
	f := &fleet{t: t, now: time.Now()}
	f.State = monitorsrv.NewState(func(c monitorsrv.Change) {
		tr := monitorsrv.TransitionOf(c)
		f.changes = append(f.changes, fmt.Sprintf("%s %s %s>%s", tr.Node, tr.Check, tr.From, tr.To))
	})
	return f
}

// report is one of a node that runs, every ten seconds.
func report(name, id string, seq uint64, change ...func(*pb.ReportRequest)) *pb.ReportRequest {
	r := &pb.ReportRequest{
		Service: service(name, id), Incarnation: "first", Seq: seq, IntervalMs: 10_000,
		Current: &pb.Status{Status: pb.Status_RUNNING, Seq: 2},
	}
	for _, f := range change {
		f(r)
	}
	return r
}

func (f *fleet) send(r *pb.ReportRequest) {
	f.t.Helper()
	if err := monitorsrv.CheckReport(r); err != nil {
		f.t.Fatal(err)
	}
	if err := f.Report(r, "10.0.0.1", f.now); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) pass(d time.Duration) {
	f.now = f.now.Add(d)
	f.Sweep(f.now)
}

func notReady(reasons ...string) func(*pb.ReportRequest) {
	return func(r *pb.ReportRequest) { r.NotReady = reasons }
}

func status(s pb.Status_Status, seq uint64) func(*pb.ReportRequest) {
	return func(r *pb.ReportRequest) { r.Current = &pb.Status{Status: s, Seq: seq} }
}

func check(id string, s pb.HealthCheck_Status) func(*pb.ReportRequest) {
	return func(r *pb.ReportRequest) {
		r.Checks = append(r.Checks, &pb.HealthCheck{Id: id, Status: s, Error: "away", Critical: true})
	}
}

// calls says that the node called another service.
func calls(service string, success, errors int64) func(*pb.ReportRequest) {
	return func(r *pb.ReportRequest) {
		r.Stats = append(r.Stats, &pb.Stats{Seq: r.Seq, Endpoints: []*pb.Endpoint{{
			Side: pb.Endpoint_CLIENT, Service: service, Method: "M",
			Success: &pb.Metrics{Count: success}, Errors: &pb.Metrics{Count: errors},
		}}})
	}
}

func TestThreeMissedReportsAreUnknown(t *testing.T) {
	f := newFleet(t)
	f.send(report("a", "1", 1, notReady("check db")))
	f.pass(29 * time.Second)
	if got := f.Status("a-1"); got != pb.Status_RUNNING || len(f.NotReady()) != 1 {
		t.Errorf("after 29 s: %v, %v", got, f.NotReady())
	}
	f.pass(2 * time.Second)
	if got := f.Status("a-1"); got != pb.Status_UNKNOWN || len(f.NotReady()) != 0 {
		t.Errorf("after 31 s: %v, %v", got, f.NotReady())
	}
	f.send(report("a", "1", 2))
	if got := f.Status("a-1"); got != pb.Status_RUNNING {
		t.Errorf("heard again: %v", got)
	}
	want := []string{"a-1  UNKNOWN>RUNNING", "a-1  RUNNING>UNKNOWN", "a-1  UNKNOWN>RUNNING"}
	if !slices.Equal(f.changes, want) {
		t.Errorf("history: %q", f.changes)
	}
	f.pass(2 * time.Hour)
	if f.Nodes() != 0 {
		t.Error("a node that is long gone is kept")
	}
}

func TestReportsSentTwiceOrLateChangeNothing(t *testing.T) {
	f := newFleet(t)
	first := report("a", "1", 1, func(r *pb.ReportRequest) {
		r.Statuses = []*pb.Status{{Status: pb.Status_STARTED, Seq: 1}, {Status: pb.Status_RUNNING, Seq: 2}}
	}, check("db", pb.HealthCheck_OK))
	f.send(proto.CloneOf(first))
	f.send(proto.CloneOf(first))
	f.send(report("a", "1", 3, status(pb.Status_DRAINING, 3), notReady("draining"), check("db", pb.HealthCheck_ERROR)))
	f.send(proto.CloneOf(first))
	f.send(report("a", "1", 2, check("db", pb.HealthCheck_OK)))
	want := []string{
		"a-1  UNKNOWN>STARTED", "a-1  STARTED>RUNNING", "a-1 db UNKNOWN>OK",
		"a-1  RUNNING>DRAINING", "a-1 db OK>ERROR",
	}
	if !slices.Equal(f.changes, want) {
		t.Errorf("history: %q", f.changes)
	}
	if got := f.NotReady(); len(got) != 1 || got[0].Reasons[0] != "draining" {
		t.Errorf("not ready: %v", got)
	}
}

func TestNobodyElseReportsForANode(t *testing.T) {
	f := newFleet(t)
	f.send(report("a", "1", 5))
	forged := func() *pb.ReportRequest {
		return report("a", "1", 9, func(r *pb.ReportRequest) { r.Incarnation = "second" }, notReady("forged"))
	}
	if err := f.Report(forged(), "10.6.6.6", f.now); !errors.Is(err, rpcerr.ErrExists) {
		t.Errorf("from another host: %v", err)
	}
	if len(f.NotReady()) != 0 {
		t.Error("a forged report changed a route")
	}
	if err := f.Report(forged(), "10.0.0.1", f.now); err != nil {
		t.Errorf("restarted on the same host: %v", err)
	}
	f.pass(time.Minute)
	if err := f.Report(report("a", "1", 1), "10.6.6.6", f.now); err != nil {
		t.Errorf("moved after a silence: %v", err)
	}
}

func TestNodesAreBounded(t *testing.T) {
	f := newFleet(t)
	for i := range 10_000 {
		f.send(report("a", fmt.Sprint(i), 1))
	}
	if err := f.Report(report("a", "more", 1), "10.0.0.1", f.now); !errors.Is(err, rpcerr.ErrLimited) {
		t.Errorf("one node too many: %v", err)
	}
	f.send(report("a", "7", 2)) // known ones go on
}

func TestVerdicts(t *testing.T) {
	type reports = []*pb.ReportRequest
	for name, c := range map[string]struct {
		reports reports
		silence bool
		want    string // service state ready/nodes
		reason  string
	}{
		"well":        {reports{report("a", "1", 1), report("a", "2", 1, check("db", pb.HealthCheck_OK))}, false, "a OK 2/2", ""},
		"one not":     {reports{report("a", "1", 1), report("a", "2", 1, notReady("check db"))}, false, "a DEGRADED 1/2", "a-2 is not ready: check db"},
		"none":        {reports{report("a", "1", 1, notReady("check db"))}, false, "a DOWN 0/1", "check db"},
		"check":       {reports{report("a", "1", 1, check("cache", pb.HealthCheck_ERROR))}, false, "a DEGRADED 1/1", "check cache: away"},
		"silent":      {reports{report("a", "1", 1)}, true, "a UNKNOWN 0/1", "silent"},
		"stopped":     {reports{report("a", "1", 1, status(pb.Status_STOPPED, 4))}, false, "a STOPPED 0/0", ""},
		"one stopped": {reports{report("a", "1", 1), report("a", "2", 1, status(pb.Status_STOPPED, 4), notReady("stopped"))}, false, "a OK 1/1", ""},
		"dependency": {reports{
			report("a", "1", 1, calls("b", 9, 1)), report("b", "1", 1, calls("c", 1, 0), calls("b", 1, 0)),
			report("c", "1", 1, notReady("check db"), calls("a", 1, 0)), // a circle
		}, false, "a DEGRADED 1/1,b DEGRADED 1/1,c DOWN 0/1", "depends on c, which is DOWN"},
		"healthy dependency": {reports{report("a", "1", 1, calls("b", 9, 1)), report("b", "1", 1)}, false, "a OK 1/1,b OK 1/1", ""},
		"unknown dependency": {reports{report("a", "1", 1, calls("nobody", 9, 1))}, false, "a OK 1/1", ""},
	} {
		f := newFleet(t)
		for _, r := range c.reports {
			f.send(r)
		}
		if c.silence {
			f.pass(time.Minute)
		}
		var got, reasons []string
		for _, v := range f.Verdicts(f.now) {
			got = append(got, fmt.Sprintf("%s %v %d/%d", v.Service, v.State, v.Ready, v.Nodes))
			reasons = append(reasons, v.Reasons...)
		}
		if strings.Join(got, ",") != c.want || !strings.Contains(strings.Join(reasons, ";"), c.reason) || (c.reason == "") != (len(reasons) == 0) {
			t.Errorf("%s: %v %q, want %s %q", name, got, reasons, c.want, c.reason)
		}
	}
}

func TestNodesThatWereReplacedCountNoLonger(t *testing.T) {
	f := newFleet(t)
	f.send(report("a", "1", 1))
	f.pass(time.Minute)
	f.send(report("a", "2", 1))
	if v := f.Verdicts(f.now)[0]; v.State != pb.Verdict_DEGRADED || v.Nodes != 2 {
		t.Errorf("one is silent: %v", v)
	}
	f.pass(11 * time.Minute)
	if v := f.Verdicts(f.now)[0]; v.State != pb.Verdict_UNKNOWN {
		t.Errorf("all are silent: %v", v)
	}
	f.send(report("a", "2", 2))
	if v := f.Verdicts(f.now)[0]; v.State != pb.Verdict_OK || v.Nodes != 1 {
		t.Errorf("one is gone: %v", v)
	}
}

func TestDependenciesAreSummedUp(t *testing.T) {
	f := newFleet(t)
	f.send(report("a", "1", 1, calls("b", 9, 1)))
	f.send(report("a", "2", 1, calls("b", 1, 2)))
	d := f.Verdicts(f.now)[0].Dependencies
	if len(d) != 1 || d[0].Service != "b" || d[0].Success != 10 || d[0].Errors != 3 {
		t.Errorf("dependencies: %v", d)
	}
}

// A node that was killed and comes back on another host is believed at once when
// it has the account of the one before, and only then.
func TestTheSameAccountReportsFromAnotherHost(t *testing.T) {
	caller := func(account, host string) string {
		ctx := peer.NewContext(t.Context(), &peer.Peer{Addr: &net.TCPAddr{IP: net.ParseIP(host), Port: 1}})
		if account != "" {
			ctx = auth.WithToken(ctx, &auth.Token{Metadata: map[string]string{"sub": account}})
		}
		return monitorsrv.Reporter(ctx)
	}
	f := newFleet(t)
	send := func(incarnation, account, host string) error {
		return f.Report(report("a", "1", 1, func(r *pb.ReportRequest) { r.Incarnation = incarnation }), caller(account, host), f.now)
	}
	if err := send("first", "shop", "10.0.0.1"); err != nil {
		t.Fatal(err)
	}
	if err := send("second", "shop", "10.0.0.2"); err != nil {
		t.Errorf("its account on another host: %v", err)
	}
	for _, account := range []string{"", "other"} {
		if err := send("third", account, "10.0.0.2"); !errors.Is(err, rpcerr.ErrExists) {
			t.Errorf("account %q on the same host: %v", account, err)
		}
	}
}

// watcher reads as clients do.
type watcher struct {
	t        *testing.T
	revision uint64
	nodes    map[string]bool
}

func (w *watcher) hear(parts []*pb.WatchResponse) {
	w.t.Helper()
	for _, p := range parts {
		if n := proto.Size(p); n > 4<<20-1024 {
			w.t.Errorf("a message of %d bytes", n)
		}
		if p.Snapshot {
			w.nodes = map[string]bool{}
		} else if p.Previous != w.revision {
			w.t.Errorf("a change of revision %d at %d", p.Previous, w.revision)
		}
		for _, n := range p.Set {
			w.nodes[n.Node] = true
		}
		for _, id := range p.Removed {
			delete(w.nodes, id)
		}
		w.revision = p.Revision
	}
}

// What watchers are told comes in messages that a default client takes, however many
// nodes are not ready.
func TestWatchedInParts(t *testing.T) {
	const nodes = 5000
	f := newFleet(t)
	reasons := make([]string, 100)
	for i := range reasons {
		reasons[i] = fmt.Sprint("check ", strings.Repeat("x", 50), i)
	}
	set := func(seq uint64, change func(*pb.ReportRequest)) {
		for i := range nodes {
			id := fmt.Sprintf("node-%s-%d", strings.Repeat("n", 400), i)
			if err := f.Report(report("shop", id, seq, change), fmt.Sprint("10.0.0.", i), f.now); err != nil {
				t.Fatal(err)
			}
		}
	}
	w := &watcher{t: t}
	none := f.Routing()
	w.hear(none.Snapshot())
	set(1, notReady(reasons...))
	all := f.Routing()
	w.hear(all.Since(none))
	if len(w.nodes) != nodes {
		t.Errorf("%d nodes", len(w.nodes))
	}
	w.hear(all.Snapshot())
	if len(w.nodes) != nodes {
		t.Errorf("%d nodes of a snapshot", len(w.nodes))
	}
	set(2, notReady())
	gone := f.Routing()
	w.hear(gone.Since(all))
	if len(w.nodes) != 0 || len(gone.Since(all)) < 2 {
		t.Errorf("%d nodes are left, in %d messages", len(w.nodes), len(gone.Since(all)))
	}
	w.hear(gone.Since(gone))
}
