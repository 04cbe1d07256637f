package srv_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/config"
	configsrv "github.com/micro/go-platform/config/internal/srv"
	pb "github.com/micro/go-platform/config/proto"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"github.com/micro/go-platform/monitor"
	mpb "github.com/micro/go-platform/monitor/proto"
	monitorsrv "github.com/micro/go-platform/monitor/srv"
)

func (w *world) rollOut(id, path, data string, r *pb.Rollout) int64 {
	w.t.Helper()
	rsp, err := w.Update(within(w.t), &pb.UpdateRequest{Change: change(id, path, data), Rollout: r})
	if err != nil {
		w.t.Fatal(err)
	}
	return rsp.Revision
}

func (w *world) roll(req *pb.RolloutRequest) {
	w.t.Helper()
	if _, err := w.Rollout(within(w.t), req); err != nil {
		w.t.Fatal(err)
	}
}

func TestPercentageIsExactAndSticky(t *testing.T) {
	const n = 20_000
	state := func(percent float64, revision int64) *pb.RolloutState {
		return &pb.RolloutState{Rollout: &pb.Rollout{Percent: percent}, Revision: revision}
	}
	was := map[string]bool{}
	for _, percent := range []float64{0, 1, 10, 50, 99, 100} {
		count := 0
		for i := range n {
			id := fmt.Sprintf("shop-%d", i)
			in := configsrv.Chosen(state(percent, 7), id, nil)
			if in {
				count++
			}
			if was[id] && !in {
				t.Fatalf("%s left as the percentage rose to %v", id, percent)
			}
			was[id] = in
		}
		if got := 100 * float64(count) / n; math.Abs(got-percent) > 1 || percent == 0 && count > 0 || percent == 100 && count < n {
			t.Errorf("%v%%: %v%% were chosen", percent, got)
		}
	}
	both := 0
	for i := range n {
		id := fmt.Sprintf("shop-%d", i)
		if configsrv.Chosen(state(50, 1), id, nil) && configsrv.Chosen(state(50, 2), id, nil) {
			both++
		}
	}
	if got := 100 * float64(both) / n; math.Abs(got-25) > 2 {
		t.Errorf("%v%% are first in two changes, want 25", got)
	}
	if configsrv.Chosen(state(100, 1), "", nil) {
		t.Error("an instance without a name was chosen")
	}
}

func TestRollout(t *testing.T) {
	w := newWorld(t)
	w.create("prod:shop", `{"mode":"old"}`)
	began := w.rollOut("prod:shop", "mode", `"new"`, &pb.Rollout{Percent: 30, Labels: map[string]string{"zone": "a"}})
	see := func(instance, zone string) string {
		return w.read(&pb.ReadRequest{Id: "prod:shop", Path: "mode", Instance: instance, Labels: map[string]string{"zone": zone}})
	}
	fresh := func() (n int) {
		for i := range 100 {
			if see(fmt.Sprint("shop-", i), "a") == `"new"` {
				n++
			}
		}
		return n
	}
	some := fresh()
	if some < 15 || some > 45 {
		t.Errorf("%d of 100 got a change for 30%%", some)
	}
	expect(t, "another zone", see("shop-1", "b"), `"old"`)
	expect(t, "own", w.own("prod:shop"), `{"mode":"old"}`)
	rsp, err := w.Read(within(t), &pb.ReadRequest{Id: "prod:shop", Own: true})
	if err != nil || rsp.Change.Rollout.GetRevision() != began || rsp.Change.Rollout.Rollout.Percent != 30 {
		t.Errorf("state: %v, %v", rsp, err)
	}
	for name, err := range map[string]error{
		"update":   second(w.Update(within(t), &pb.UpdateRequest{Change: change("prod:shop", "", `{}`)})),
		"delete":   second(w.Delete(within(t), &pb.DeleteRequest{Change: change("prod:shop", "", "")})),
		"rollback": second(w.Rollback(within(t), &pb.RollbackRequest{Id: "prod:shop", Revision: began - 1})),
		"old one":  second(w.Rollout(within(t), &pb.RolloutRequest{Id: "prod:shop", Percent: 1, IfRevision: new(int64)})),
	} {
		if call.Code(err) != 412 {
			t.Errorf("%s during a rollout: %v", name, err)
		}
	}
	if diff, err := w.Diff(within(t), &pb.DiffRequest{Id: "prod:shop", From: began - 1, To: began}); err != nil || len(diff.Differences) != 1 {
		t.Errorf("diff: %v, %v", diff, err)
	}
	w.roll(&pb.RolloutRequest{Id: "prod:shop", Percent: 60})
	if more := fresh(); more <= some {
		t.Errorf("%d of 100 after widening, %d before", more, some)
	}
	w.roll(&pb.RolloutRequest{Id: "prod:shop", Action: pb.RolloutRequest_PROMOTE})
	expect(t, "promoted", w.own("prod:shop"), `{"mode":"new"}`)
	expect(t, "promoted for another zone", see("shop-1", "b"), `"new"`)
	if _, err := w.Rollout(within(t), &pb.RolloutRequest{Id: "prod:shop"}); call.Code(err) != 412 {
		t.Errorf("no rollout: %v", err)
	}
	w.rollOut("prod:shop", "mode", `"newer"`, &pb.Rollout{Percent: 100})
	expect(t, "everybody with a name", see("x", ""), `"newer"`)
	expect(t, "nobody without", w.see("prod:shop"), `{"mode":"new"}`)
	w.roll(&pb.RolloutRequest{Id: "prod:shop", Action: pb.RolloutRequest_ABORT, Comment: "no good"})
	expect(t, "aborted", see("x", ""), `"new"`)
	log, err := w.AuditLog(within(t), &pb.AuditLogRequest{Id: "prod:shop"})
	if err != nil {
		t.Fatal(err)
	}
	var actions []string
	for _, c := range log.Changes {
		actions = append(actions, c.Action)
	}
	expect(t, "log", strings.Join(actions, " "), "create rollout widen promote rollout abort")
	if _, err := w.Update(within(t), &pb.UpdateRequest{Change: change("no:such", "", `{}`), Rollout: &pb.Rollout{Percent: 1}}); call.Code(err) != 404 {
		t.Errorf("rollout of nothing: %v", err)
	}
}

func window(node string, seq uint64, failed, dropped, ok int64) *mpb.Stats {
	return &mpb.Stats{
		Service: &mpb.Service{Nodes: []*mpb.Node{{Id: node}}}, Seq: seq,
		Endpoints: []*mpb.Endpoint{
			{Side: mpb.Endpoint_SERVER, Errors: &mpb.Metrics{Count: failed}, Dropped: &mpb.Metrics{Count: dropped}, Success: &mpb.Metrics{Count: ok}},
			{Side: mpb.Endpoint_CLIENT, Errors: &mpb.Metrics{Count: 1000}},
		},
	}
}

func TestVerdict(t *testing.T) {
	with := func(node string) bool { return strings.HasPrefix(node, "with") }
	limit, increase := &pb.Abort{MaxError: 10, MinCalls: 10}, &pb.Abort{MaxIncrease: 10, MinCalls: 10}
	for name, c := range map[string]struct {
		abort   *pb.Abort
		windows []*mpb.Stats
		want    string
	}{
		"all is well":              {limit, []*mpb.Stats{window("with", 2, 1, 0, 99)}, ""},
		"errors":                   {limit, []*mpb.Stats{window("with", 2, 20, 0, 80)}, "20.0% of 100"},
		"drops count":              {limit, []*mpb.Stats{window("with", 2, 0, 20, 80)}, "20.0% of 100"},
		"errors of others":         {limit, []*mpb.Stats{window("out", 2, 100, 0, 0)}, ""},
		"too few calls":            {limit, []*mpb.Stats{window("with", 2, 9, 0, 0)}, ""},
		"default of calls":         {&pb.Abort{MaxError: 1}, []*mpb.Stats{window("with", 2, 19, 0, 0)}, ""},
		"a window is counted once": {limit, []*mpb.Stats{window("with", 2, 5, 0, 0), window("with", 2, 5, 0, 0)}, ""},
		"windows add up":           {limit, []*mpb.Stats{window("with", 2, 5, 0, 0), window("with", 3, 5, 0, 0)}, "100.0% of 10"},
		"a restarted node counts":  {limit, []*mpb.Stats{window("with", 9, 5, 0, 0), window("with", 1, 5, 0, 0)}, "100.0% of 10"},
		"as bad as others":         {increase, []*mpb.Stats{window("with", 2, 50, 0, 50), window("out", 2, 45, 0, 55)}, ""},
		"worse than others":        {increase, []*mpb.Stats{window("with", 2, 50, 0, 50), window("out", 2, 5, 0, 95)}, "5.0% of 100"},
		"no others to compare":     {increase, []*mpb.Stats{window("with", 2, 50, 0, 50)}, ""},
		"no node":                  {limit, []*mpb.Stats{{Seq: 2}}, ""},
	} {
		trial := configsrv.NewTrial()
		before := []*mpb.Stats{window("with", 1, 1000, 0, 0), window("out", 1, 1000, 0, 0)}
		if why := trial.Look(c.abort, with, before...); why != "" {
			t.Errorf("%s: what was before the rollout counts: %s", name, why)
		}
		if why := trial.Look(c.abort, with, c.windows...); !strings.Contains(why, c.want) || c.want == "" && why != "" {
			t.Errorf("%s: %q, want %q", name, why, c.want)
		}
	}
}

// instance is a node of a service whose handler breaks on a bad value.
type instance struct {
	rpctest.Echo
	id     string
	config config.Config
	calls  atomic.Int64
}

func (i *instance) Call(_ context.Context, _ *echo.Request, rsp *echo.Response) error {
	i.calls.Add(1)
	rsp.Text = i.id
	if i.config.Get("mode").String("") == "bad" {
		return errors.New("the new mode does not work")
	}
	return nil
}

// serve starts a node of the shop with config, monitor and handlers.
func (w *world) serve() *instance {
	w.t.Helper()
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	s := w.Server(rpctest.GRPC, "shop")
	i := &instance{id: "shop-" + s.Options().Id}
	c := w.Client(rpctest.GRPC)
	i.config = config.NewConfig(config.Logger(quiet), config.PollInterval(time.Hour), config.WithSource(config.NewSource(
		config.SourceName("prod:shop"), config.SourceClient(c), config.SourceInstance(i.id), config.SourceLabels(map[string]string{"zone": "a"}))))
	m := monitor.NewMonitor(monitor.Server(s), monitor.Client(c), monitor.Interval(200*time.Millisecond), monitor.Logger(quiet))
	if err := s.Init(server.WrapHandler(monitor.HandlerWrapper(m))); err != nil {
		w.t.Fatal(err)
	}
	if err := echo.RegisterEchoHandler(s, i); err != nil {
		w.t.Fatal(err)
	}
	w.Start(s)
	for _, p := range []interface {
		Start() error
		Stop() error
	}{i.config, m} {
		if err := p.Start(); err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { _ = p.Stop() }) // the servers are on their way too
	}
	return i
}

// TestBadChangeRollsItselfBack runs monitor-srv, config-srv, four instances and
// a caller. A value that makes calls fail is rolled out to half of the
// instances, and taken back without anybody's doing.
func TestBadChangeRollsItselfBack(t *testing.T) {
	w := newWorld(t)
	w.Boot(monitorsrv.New())
	w.create("prod:shop", `{"mode":"good"}`)
	var all []*instance
	for range 4 {
		all = append(all, w.serve())
	}
	with := func() (n int) { // have the change
		for _, i := range all {
			if i.config.Get("mode").String("") == "bad" {
				n++
			}
		}
		return n
	}
	ctx, cancel := context.WithCancel(t.Context())
	calling := make(chan struct{})
	go func() {
		defer close(calling)
		shop := echo.NewEchoService("shop", w.Client(rpctest.GRPC))
		for tick := time.NewTicker(2 * time.Millisecond); ctx.Err() == nil; <-tick.C {
			_, _ = shop.Call(ctx, &echo.Request{}) // it fails on the instances with the change
		}
	}()
	defer func() { cancel(); <-calling }()
	rpctest.Eventually(t, "all instances are called", func() bool {
		for _, i := range all {
			if i.calls.Load() < 20 {
				return false
			}
		}
		return true
	})
	rollout := &pb.Rollout{Labels: map[string]string{"zone": "a"}, Abort: &pb.Abort{Service: "shop", MaxError: 50, MaxIncrease: 20}}
	began := w.rollOut("prod:shop", "mode", `"bad"`, rollout)
	percent, chosen := 0.0, 0 // so that some of the four are among the first
	for chosen == 0 {
		percent, chosen = percent+0.1, 0
		for _, i := range all {
			if configsrv.Chosen(&pb.RolloutState{Rollout: &pb.Rollout{Percent: percent}, Revision: began}, i.id, nil) {
				chosen++
			}
		}
	}
	w.roll(&pb.RolloutRequest{Id: "prod:shop", Percent: percent})
	rpctest.Eventually(t, "the chosen instances have the change", func() bool { return with() == chosen })
	var abort *pb.ChangeLog
	rpctest.Eventually(t, "the rollout is aborted", func() bool {
		log, err := w.AuditLog(within(t), &pb.AuditLogRequest{Id: "prod:shop", Reverse: true, Limit: 1})
		if err != nil || log.Changes[0].Action != "abort" {
			return false
		}
		abort = log.Changes[0]
		return true
	})
	if abort.Change.Author != config.ServiceName || !strings.Contains(abort.Change.Comment, "calls failed on instances with the change") {
		t.Errorf("the log: %v", abort)
	}
	rpctest.Eventually(t, "all have the good value again", func() bool { return with() == 0 })
	if rsp, err := w.Read(within(t), &pb.ReadRequest{Id: "prod:shop", Own: true}); err != nil || rsp.Change.Rollout != nil || rsp.Change.Revision <= began {
		t.Errorf("after it: %v, %v", rsp, err)
	}
	t.Log(abort.Change.Comment)
}
