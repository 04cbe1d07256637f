package router_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/selector"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"github.com/micro/go-platform/router"
	routersrv "github.com/micro/go-platform/router/internal/srv"
	pb "github.com/micro/go-platform/router/proto"
)

// platform is a world with a real router-srv that its router follows.
type platform struct {
	*world
	srv *daemon.Running
	api client.Client
	dir string
}

func newPlatform(t *testing.T, stack string, opts ...selector.Option) *platform {
	t.Helper()
	p := &platform{world: newFollower(t, stack, opts...), dir: t.TempDir()}
	p.api = p.Client(rpctest.GRPC)
	p.boot()
	return p
}

// newFollower is newWorld with a router that looks for router-srv.
func newFollower(t *testing.T, stack string, opts ...selector.Option) *world {
	t.Helper()
	net := rpctest.New(t)
	w := &world{Net: net, t: t, stack: stack}
	w.router = router.NewRouter(append([]selector.Option{
		selector.Registry(net.Registry), router.Logger(net.Logger), router.Interval(router.MinInterval),
		router.Server(net.Server(stack, "caller")), router.Client(net.Client(stack)),
	}, opts...)...)
	// Not w: a test keeps its clean-ups, and rpc clients go with the garbage.
	r := w.router
	t.Cleanup(func() { _ = r.Stop() }) // tests that care look at the first Stop
	w.client = net.ClientOf(stack, w.router, impatient, router.ClientWrapper(w.router))
	return w
}

func (p *platform) boot() {
	p.srv = p.Boot(routersrv.Service(), func(c *daemon.Config) { c.DataDir = p.dir })
}

func (p *platform) kill() {
	p.t.Helper()
	if err := p.srv.Stop(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *platform) rule(r *pb.RuleSet) {
	p.t.Helper()
	rpctest.Eventually(p.t, "the rule is taken", func() bool { // go-micro may still know a router-srv that died
		_, err := pb.NewRuleService(router.ServiceName, p.api).Create(p.t.Context(), &pb.CreateRuleRequest{Rule: r}, rpc.Options(time.Second)...)
		return err == nil
	})
}

// warm makes a call and waits until router-srv answered for the service.
func (p *platform) warm() {
	p.t.Helper()
	p.calls(p.t.Context(), 1)
	rpctest.Eventually(p.t, "router-srv answers", func() bool {
		e, err := p.router.Explain("shop")
		return err == nil && e.Source == "router-srv"
	})
}

// ruled waits until a rule of this weight decides for a version.
func (p *platform) ruled(version string, percent float64) {
	p.t.Helper()
	rpctest.Eventually(p.t, fmt.Sprintf("%s has %v %%", version, percent), func() bool {
		e, err := p.router.Explain("shop")
		if err != nil {
			return false
		}
		for _, v := range e.Versions {
			if v.Version == version && math.Abs(v.Percent-percent) < 0.001 && strings.HasPrefix(v.Reason, "rule ") {
				return true
			}
		}
		return false
	})
}

func TestACanaryBehindARule(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		p := newPlatform(t, stack, router.StickyBy("x-user"))
		p.serve("shop", "v1")
		v2 := p.serve("shop", "v2")
		p.warm()
		p.rule(&pb.RuleSet{Service: "shop", Version: "v2", Weight: 20})
		p.ruled("v2", 20)
		// A user stays with a version, whether named by context or metadata.
		svc, canary := p.echo("shop"), 0
		for u := range 60 {
			user := fmt.Sprint("user-", u)
			seen := map[bool]int{}
			for i := range 4 {
				ctx := metadata.NewContext(t.Context(), metadata.Metadata{"X-User": user})
				if i%2 == 0 {
					ctx = router.WithKey(t.Context(), user)
				}
				if rsp, err := svc.Call(ctx, &echo.Request{}); err == nil {
					seen[rsp.Text == v2.id]++
				} else if !p.lost(err) {
					t.Fatal(err)
				}
			}
			if len(seen) > 1 {
				t.Fatalf("%s went to both versions", user)
			}
			if seen[true] > 0 {
				canary++
			}
		}
		if canary < 4 || canary > 24 {
			t.Errorf("%d of 60 users are in a canary of 20 %%", canary)
		}
		// For a label, and nobody else.
		p.rule(&pb.RuleSet{Service: "shop", Version: "v2", Weight: 0, Priority: 10})
		p.rule(&pb.RuleSet{Service: "shop", Version: "v2", Weight: 100, Priority: 20, Key: "Beta", Value: "Yes"})
		p.ruled("v2", 0)
		rpctest.Eventually(t, "the label's rule is there", func() bool {
			by, _ := p.calls(router.WithLabel(t.Context(), "beta", "YES"), 1)
			return by[v2.id] == 1
		})
		if by, failed := p.calls(router.WithLabel(t.Context(), "beta", "YES"), 20); failed > 0 || by[v2.id] < 18 || len(by) != 1 {
			t.Errorf("with the label: %v", by)
		}
		if by, failed := p.calls(t.Context(), 50); failed > 0 || by[v2.id] > 0 {
			t.Errorf("without: %v", by)
		}
	})
}

func TestOnlyAcceptedLabelsSteer(t *testing.T) {
	p := newPlatform(t, rpctest.GRPC, router.AcceptLabels("env"))
	p.serve("shop", "v1")
	internal := p.serve("shop", "internal")
	p.warm()
	p.rule(&pb.RuleSet{Service: "shop", Version: "internal", Weight: 0})
	p.rule(&pb.RuleSet{Service: "shop", Version: "internal", Weight: 100, Priority: 1, Key: "stage", Value: "internal"})
	p.ruled("internal", 0)
	rpctest.Eventually(t, "both rules are there", func() bool {
		e, err := p.router.Explain("shop", router.CallsWithLabel("Stage", "internal"))
		return err == nil && len(e.Versions) > 0 && e.Versions[0].Version == "internal" && e.Versions[0].Percent == 100
	})
	if by, failed := p.calls(router.WithLabel(t.Context(), "stage", "internal"), 50); failed > 0 || by[internal.id] > 0 {
		t.Errorf("a label that is not accepted steered: %v", by)
	}
}

func TestLabelSetsBindAndFallBack(t *testing.T) {
	p := newPlatform(t, rpctest.GRPC, router.Strategy(router.RoundRobin))
	gold := p.serve("shop", "v1", server.Metadata(map[string]string{"tier": "gold", "env": "staging"}))
	p.serve("shop", "v1", server.Metadata(map[string]string{"env": "staging"}))
	p.serve("shop", "v1")
	p.warm()
	labels := pb.NewLabelService(router.ServiceName, p.api)
	for _, l := range []*pb.LabelSet{
		{Service: "shop", Key: "env", Weight: 100}, {Service: "shop", Key: "tier", Weight: 100},
		{Service: "shop", Key: "tenant", Weight: 100, Fallback: pb.LabelSet_NONE},
	} {
		if _, err := labels.Create(t.Context(), &pb.CreateLabelRequest{Label: l}); err != nil {
			t.Fatal(err)
		}
	}
	rpctest.Eventually(t, "the labels are there", func() bool {
		_, failed := p.calls(router.WithLabel(t.Context(), "tenant", "acme"), 1)
		return failed == 1
	})
	if by, failed := p.calls(labelled(t.Context(), "env", "staging", "tier", "gold"), 30); failed > 0 || by[gold.id] != 30 {
		t.Errorf("all must match: %v", by)
	}
	if by, failed := p.calls(labelled(t.Context(), "env", "staging", "tier", "silver"), 30); failed > 0 || len(by) != 3 {
		t.Errorf("fallback: %v", by)
	}
}

func TestRouterSrvDiesAndReturns(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		p := newPlatform(t, stack)
		p.serve("shop", "v1")
		gone := p.serve("shop", "v2")
		p.warm()
		p.rule(&pb.RuleSet{Service: "shop", Version: "v2", Weight: 0})
		p.ruled("v2", 0)
		p.kill()
		rpctest.Eventually(t, "its silence is noticed", func() bool {
			e, err := p.router.Explain("shop")
			return err == nil && e.Source != "router-srv"
		})
		by, failed := p.calls(t.Context(), 500)
		if failed > 0 || by[gone.id] > 0 {
			t.Errorf("without router-srv: %d failed, %v", failed, by)
		}
		// The registry still counts: a new node gets calls, one that left none.
		fresh := p.serve("shop", "v3")
		rpctest.Eventually(t, "a new node gets calls", func() bool {
			by, _ := p.calls(t.Context(), 10)
			return by[fresh.id] > 0
		})
		p.boot()
		p.ruled("v2", 0)
		rpctest.Eventually(t, "it is followed again", func() bool {
			e, err := p.router.Explain("shop")
			return err == nil && e.Source == "router-srv"
		})
		p.rule(&pb.RuleSet{Service: "shop", Version: "v3", Weight: 0})
		p.ruled("v3", 0)
	})
}

func TestTheRouterIsThereBeforeRouterSrv(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		p := &platform{world: newFollower(t, stack), dir: t.TempDir()}
		p.api = p.Client(rpctest.GRPC)
		p.serve("shop", "v1")
		if by, failed := p.calls(t.Context(), 50); failed > 0 {
			t.Errorf("%v", by)
		}
		p.boot()
		p.warm()
	})
}

func TestReportsArrive(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		p := newPlatform(t, stack)
		n := p.serve("shop", "v1")
		p.calls(t.Context(), 20)
		api := pb.NewRouterService(router.ServiceName, p.api)
		// Calls to nodes that it has not looked up yet it does not count.
		rpctest.Eventually(t, "router-srv knows the calls", func() bool {
			p.calls(t.Context(), 1)
			rsp, err := api.Stats(t.Context(), &pb.StatsRequest{Service: "shop"})
			if err != nil || len(rsp.Stats) != 1 || len(rsp.Stats[0].Selected) != 1 {
				return false
			}
			s := rsp.Stats[0]
			return s.Selected[0].Node.Id == n.id && s.Selected[0].Success.GetCount() >= 5 && len(s.EndpointStats) == 1
		})
		if err := p.router.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
		if p.router.Dropped() != 0 {
			t.Errorf("%d windows dropped", p.router.Dropped())
		}
	})
}

func TestReportsWaitAndAreCounted(t *testing.T) {
	w := newFollower(t, rpctest.GRPC)
	w.serve("shop", "v1")
	rpctest.Eventually(t, "windows are dropped and counted", func() bool {
		w.calls(t.Context(), 1)
		return w.router.Dropped() > 0
	})
	begun := time.Now()
	if err := w.router.Stop(); err == nil || !strings.Contains(err.Error(), "lost") {
		t.Errorf("Stop says nothing of what is lost: %v", err)
	}
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("Stop took %v", d)
	}
}

func TestCentralLimitsAreAppliedLive(t *testing.T) {
	p := newPlatform(t, rpctest.GRPC)
	p.serve("shop", "v1")
	p.warm()
	limits := pb.NewLimitService(router.ServiceName, p.api)
	if _, err := limits.Create(t.Context(), &pb.CreateLimitRequest{Limit: &pb.LimitSet{Service: "shop", RequestsPerSecond: 20}}); err != nil {
		t.Fatal(err)
	}
	rpctest.Eventually(t, "calls are limited", func() bool {
		by, _ := p.calls(t.Context(), 50)
		return by["code 429"] > 20
	})
	if _, err := limits.Delete(t.Context(), &pb.DeleteLimitRequest{Service: "shop"}); err != nil {
		t.Fatal(err)
	}
	rpctest.Eventually(t, "the limit is gone", func() bool {
		by, _ := p.calls(t.Context(), 50)
		return by["code 429"] == 0
	})
}

func TestManyServicesShareOneStream(t *testing.T) {
	p := newPlatform(t, rpctest.GRPC)
	for i := range 20 {
		name := fmt.Sprint("service-", i)
		p.serve(name, "v1")
		if _, err := p.echo(name).Call(t.Context(), &echo.Request{}); err != nil {
			t.Fatal(err)
		}
	}
	rpctest.Eventually(t, "all are followed", func() bool {
		for i := range 20 {
			e, err := p.router.Explain(fmt.Sprint("service-", i))
			if err != nil || e.Source != "router-srv" {
				return false
			}
		}
		return true
	})
}

func TestDrainingLeavesWithinASecondWithRouterSrvToo(t *testing.T) {
	p := newPlatform(t, rpctest.GRPC)
	a := p.serve("shop", "v1")
	p.serve("shop", "v1")
	p.warm()
	services, err := p.Registry.GetService("shop")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range services[0].Nodes {
		if n.Id == a.id {
			n.Metadata["status"] = "DRAINING"
			p.register("shop", "v1", n)
		}
	}
	rpctest.Within(t, time.Second, "the router knows", func() bool {
		e, err := p.router.Explain("shop")
		return err == nil && strings.Contains(e.String(), "draining: no new calls")
	})
	if by, _ := p.calls(context.Background(), 100); by[a.id] > 0 {
		t.Errorf("%d calls", by[a.id])
	}
}
