package srv_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
	pb "github.com/micro/go-platform/router/proto"
)

// follow opens a stream with signs of life. next returns the next message about
// a service and leaves out keep-alives and messages about others.
func (a *api) follow(t *testing.T, req *pb.SelectRequest) (pb.Router_SelectStreamService, func(service string) *pb.SelectResponse) {
	t.Helper()
	req.Signs = true
	stream, err := a.router.SelectStream(within(t), req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stream.Close() }) // the test is over
	return stream, func(service string) *pb.SelectResponse {
		t.Helper()
		for {
			rsp, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if rsp.Service == service {
				return rsp
			}
		}
	}
}

func TestStreamTellsEveryChangeInOrder(t *testing.T) {
	a := boot(t)
	a.register(t, 2)
	_, next := a.follow(t, &pb.SelectRequest{Service: "stock", Caller: caller(1), Known: []*pb.Known{{Service: "nobody"}}})
	first := next("stock")
	for first.Stale {
		first = next("stock")
	}
	if len(first.Services) != 1 || first.Epoch == "" || first.KeepaliveMs == 0 {
		t.Fatalf("first: %v", first)
	}
	last := first
	step := func(what string, change func() error, holds func(*pb.SelectResponse) bool) {
		t.Helper()
		began := time.Now()
		if err := change(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for {
			rsp := next("stock")
			if rsp.Revision <= last.Revision || rsp.Epoch != last.Epoch {
				t.Fatalf("%s: revision %d after %d", what, rsp.Revision, last.Revision)
			}
			if last = rsp; holds(rsp) {
				t.Logf("%s: after %v", what, time.Since(began))
				return
			}
		}
	}
	var rule *pb.RuleSet
	step("rule", func() error {
		r, err := a.rule.Create(within(t), &pb.CreateRuleRequest{Rule: canary("")})
		rule = r.GetRule()
		return err
	}, func(r *pb.SelectResponse) bool { return len(r.Rules) == 1 && r.Rules[0].Id == rule.Id })
	step("label", func() error {
		return second(a.label.Create(within(t), &pb.CreateLabelRequest{Label: &pb.LabelSet{Service: "stock", Key: "region", Weight: 100}}))
	}, func(r *pb.SelectResponse) bool { return len(r.Labels) == 1 })
	step("limit", func() error {
		return second(a.limit.Create(within(t), &pb.CreateLimitRequest{Limit: &pb.LimitSet{Service: "stock", RequestsPerSecond: 100}}))
	}, func(r *pb.SelectResponse) bool { return r.Share.GetRequestsPerSecond() == 100 })
	step("another caller", func() error {
		return second(a.router.Select(within(t), &pb.SelectRequest{Service: "stock", Caller: caller(2)}))
	}, func(r *pb.SelectResponse) bool { return r.Share.GetRequestsPerSecond() == 50 })
	step("a node comes", func() error { return a.net.Registry.Register(stock(3).Services[0]) },
		func(r *pb.SelectResponse) bool { return len(r.Services[0].Nodes) == 3 })
	step("rule is gone", func() error { return second(a.rule.Delete(within(t), &pb.DeleteRuleRequest{Id: rule.Id})) },
		func(r *pb.SelectResponse) bool { return len(r.Rules) == 0 })
	step("ejection", func() error { return a.condemn(t, 0, 3) },
		func(r *pb.SelectResponse) bool {
			n := r.Services[0].Nodes[0]
			return n.Ejected && n.EjectedMs > 0 && n.Reason != ""
		})

	// A stream that knows where it was gets nothing twice and the rest.
	_, again := a.follow(t, &pb.SelectRequest{Caller: caller(1), Known: []*pb.Known{
		{Service: "stock", Epoch: last.Epoch, Revision: last.Revision}, {Service: "nobody", Epoch: "another", Revision: 99},
	}})
	again("nobody")
	known := []*pb.Known{{Service: "stock", Epoch: last.Epoch, Revision: last.Revision}}
	if idle, _ := a.follow(t, &pb.SelectRequest{Caller: caller(1), Known: known}); idle != nil {
		if rsp, err := idle.Recv(); err != nil || rsp.Service != "" || rsp.KeepaliveMs == 0 {
			t.Errorf("a stream that knows everything: %v, %v", rsp, err)
		}
	}
	step("for both", func() error { return second(a.rule.Create(within(t), &pb.CreateRuleRequest{Rule: canary("")})) },
		func(r *pb.SelectResponse) bool { return len(r.Rules) == 1 })
	if rsp := again("stock"); rsp.Revision <= first.Revision {
		t.Errorf("resumed: %v", rsp)
	}
}

// condemn has three callers say that a node of stock fails.
func (a *api) condemn(t *testing.T, node, nodes int) error {
	for i := range 3 {
		s := &pb.Stats{Service: &pb.Service{Name: "stock"}, DurationMs: 1000}
		for n := range nodes {
			m := &pb.Metrics{Count: 20, Mean: 2}
			sel := &pb.Selected{Node: &pb.Node{Id: nodeID(n)}, Success: m}
			if n == node {
				sel = &pb.Selected{Node: &pb.Node{Id: nodeID(n)}, Errors: m, Consecutive: 20}
			}
			s.Selected = append(s.Selected, sel)
		}
		r := &pb.ReportRequest{Caller: caller(i), Incarnation: "c", Seq: 1, IntervalMs: 1000, Stats: []*pb.Stats{s}}
		if _, err := a.router.Report(within(t), r); err != nil {
			return err
		}
	}
	return nil
}

func TestStreamsEnd(t *testing.T) {
	a := boot(t)
	a.register(t, 1)
	if _, err := a.limit.Create(within(t), &pb.CreateLimitRequest{Limit: &pb.LimitSet{Service: "stock", Concurrency: 4}}); err != nil {
		t.Fatal(err)
	}
	// The client's end gives its share back, when it is silent for long enough;
	// here it is enough that the stream no longer counts.
	ctx, cancel := context.WithCancel(within(t))
	stream, err := a.router.SelectStream(ctx, &pb.SelectRequest{Service: "stock", Caller: caller(1)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	began := time.Now()
	rpctest.Eventually(t, "a stream that ended counts no longer", func() bool {
		r, err := a.router.Select(within(t), &pb.SelectRequest{Service: "stock", Caller: caller(2)})
		return err == nil && r.Share.GetCallers() == 1
	})
	t.Logf("share given back after %v", time.Since(began))
	// The server's end is the stream's.
	other, next := a.follow(t, &pb.SelectRequest{Service: "stock"})
	next("stock")
	began = time.Now()
	if err := a.srv.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped after %v", time.Since(began))
	for {
		if _, err := other.Recv(); err != nil {
			break
		}
	}
}

func TestStreamSaysThatItLives(t *testing.T) {
	a := boot(t)
	stream, _ := a.follow(t, &pb.SelectRequest{Service: "nobody"})
	for {
		rsp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if rsp.Service == "" && rsp.KeepaliveMs > 0 {
			return
		}
	}
}

func TestBadStreamsAreRefused(t *testing.T) {
	a := boot(t)
	many := make([]*pb.Known, 1001)
	for i := range many {
		many[i] = &pb.Known{Service: fmt.Sprint(i)}
	}
	for name, req := range map[string]*pb.SelectRequest{
		"service: none":          {},
		"service: newline":       {Service: "\n"},
		"known: many":            {Known: many},
		"known.service: missing": {Known: []*pb.Known{{}}},
		"caller.node: missing":   {Service: "stock", Caller: &pb.Caller{Service: "shop"}},
	} {
		stream, err := a.router.SelectStream(within(t), req)
		if err == nil {
			_, err = stream.Recv()
			_ = stream.Close() // it has ended
		}
		refused(t, name, err)
	}
}

func TestTwoInstancesShareTheirStore(t *testing.T) { rpctest.SharedDatabases(t, shareStore) }

func shareStore(t *testing.T, url string) {
	shared := func(c *daemon.Config) { c.DatabaseURL = url }
	one := boot(t, shared)
	two := boot(t, shared) // on a network of its own, so that calls reach it
	two.register(t, 1)
	_, next := two.follow(t, &pb.SelectRequest{Service: "stock"})
	first := next("stock")
	for first.Stale {
		first = next("stock")
	}
	if _, err := one.rule.Create(within(t), &pb.CreateRuleRequest{Rule: canary("here")}); err != nil {
		t.Fatal(err)
	}
	if rsp := next("stock"); len(rsp.Rules) != 1 || rsp.Rules[0].Id != "here" || rsp.Revision <= first.Revision {
		t.Errorf("at the other one: %v", rsp)
	}
}
