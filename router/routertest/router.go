package routertest

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/selector"

	"github.com/micro/go-platform/internal/lifecycle/lifecycletest"
	"github.com/micro/go-platform/router"
)

// New makes a router with all of opts, one of which is a registry. It does not
// start it; the suites start and stop it.
type New func(tb testing.TB, opts ...selector.Option) router.Router

// Run runs the suite of routers, which begins with that of selectors.
func Run(t *testing.T, newRouter New) {
	RunSelector(t, func(tb testing.TB, opts ...selector.Option) selector.Selector { return newRouter(tb, opts...) })
	for name, test := range map[string]func(*testing.T, New){
		"Lifecycle": testLifecycle, "Stopped": testStopped, "BadOptions": testBadOptions, "AnotherNode": testAnotherNode, "Strategies": testStrategies,
		"Breaker": testBreaker, "Panic": testPanic, "Stats": testStats, "Explain": testExplain, "Draining": testDraining, "NotReady": testNotReady,
		"Changes": func(t *testing.T, n New) {
			testChanges(t, func(t testing.TB, opts ...selector.Option) selector.Selector { return n(t, opts...) })
		},
	} {
		t.Run(name, func(t *testing.T) { test(t, newRouter) })
	}
}

func started(t *testing.T, newRouter New, opts ...selector.Option) router.Router {
	t.Helper()
	r := newRouter(t, opts...)
	t.Cleanup(func() { _ = r.Stop() }) // tests that care look at the first Stop
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

func testLifecycle(t *testing.T, newRouter New) {
	lifecycletest.Run(t, lifecycletest.Case[router.Router, selector.Option]{
		New: func(tb testing.TB, opts ...selector.Option) router.Router {
			return newRouter(tb, append([]selector.Option{selector.Registry(Registry(tb, Service("shop", 1, "v1")...))}, opts...)...)
		},
		Call: func(r router.Router) error {
			next, err := r.Select("shop")
			if err != nil {
				return err
			}
			node, err := next()
			r.Mark("shop", node, err)
			return err
		},
		Bad:       router.Interval(0),
		Text:      "router: option Interval: 0s is not within 100ms to 10s",
		NilLogger: router.Logger(nil),
	})
}

// testStopped is about what a router still does after Stop.
func testStopped(t *testing.T, newRouter New) {
	r := started(t, newRouter, selector.Registry(Registry(t, Service("shop", 1, "v1")...)))
	node := Take(t, r, "shop", nil)
	next, err := r.Select("shop")
	if err := errors.Join(err, r.Close(), r.Close(), r.Stop()); err != nil {
		t.Error(err)
	}
	if _, err := next(); err != nil { // a call that is under way
		t.Errorf("Next after Stop: %v", err)
	}
	r.Mark("shop", node, nil)
	r.Record(request{"shop", "Orders.Place"}, node, time.Millisecond, nil)
	r.Reset("shop")
	_, selecting := r.Select("shop")
	_, measured := r.Stats()
	_, explained := r.Explain("shop")
	for what, err := range map[string]error{"Select": selecting, "Stats": measured, "Explain": explained} {
		if !errors.Is(err, router.ErrStopped) || err.Error() != "router: stopped" {
			t.Errorf("%s after Stop: %v", what, err)
		}
	}
}

func testBadOptions(t *testing.T, newRouter New) {
	for name, bad := range map[string]selector.Option{
		"Strategy": router.Strategy("sideways"), "Decay": router.Decay(-1), "Eject": router.Eject(-1, 1, 1),
		"Interval": router.Interval(time.Hour), "Retries": router.Retries(-1), "RetryBudget": router.RetryBudget(2, 1),
		"MaxServices": router.MaxServices(0), "ClientRate": router.ClientRate("shop", 0, 1), "ServerRate": router.ServerRate(-1, 1),
		"Idempotent": router.Idempotent("["), "ClientConcurrency": router.ClientConcurrency(-1),
		"ServerConcurrency": router.ServerConcurrency(-1), "Zone": router.Zone("a\nb"),
	} {
		r := newRouter(t, selector.Registry(Registry(t)), bad)
		if err := r.Start(); !errors.Is(err, router.ErrInvalid) || !strings.HasPrefix(err.Error(), "router: option "+name+": ") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := r.Select("shop"); !errors.Is(err, router.ErrInvalid) {
			t.Errorf("%s: Select: %v", name, err)
		}
		if err := r.Init(); !errors.Is(err, router.ErrInvalid) {
			t.Errorf("%s: Init: %v", name, err)
		}
		if err := r.Stop(); err != nil {
			t.Errorf("%s: Stop after a failed Start: %v", name, err)
		}
	}
}

func testAnotherNode(t *testing.T, newRouter New) {
	for _, b := range []router.Balance{router.PeakEWMA, router.LeastConnections, router.RoundRobin, router.Random} {
		r := started(t, newRouter, selector.Registry(Registry(t, Service("shop", 3, "v1")...)), router.Strategy(b))
		for range 100 {
			next, err := r.Select("shop")
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for range 3 {
				node, err := next()
				if err != nil {
					t.Fatal(err)
				}
				seen[node.Id] = true
				r.Mark("shop", node, nil)
			}
			if len(seen) != 3 {
				t.Fatalf("%s: three tries went to %v", b, seen)
			}
		}
	}
}

func testStrategies(t *testing.T, newRouter New) {
	for _, b := range []router.Balance{router.PeakEWMA, router.LeastConnections, router.RoundRobin, router.Random} {
		for _, nodes := range []int{1, 2, 3, 20} {
			t.Run(fmt.Sprintf("%s-%d", b, nodes), func(t *testing.T) {
				r := started(t, newRouter, selector.Registry(Registry(t, Service("shop", nodes, "v1")...)), router.Strategy(b))
				fair(t, r, nodes)
			})
		}
	}
}

// fair wants idle nodes that are alike to get calls alike.
func fair(t *testing.T, r router.Router, nodes int) {
	seen := map[string]int{}
	for range nodes * 200 {
		seen[Take(t, r, "shop", nil).Id]++
	}
	for id, n := range seen {
		if n < 50 || n > 800 {
			t.Errorf("%s got %d calls, its fair share is 200", id, n)
		}
	}
	if len(seen) != nodes {
		t.Errorf("%d of %d nodes got calls", len(seen), nodes)
	}
}

func testBreaker(t *testing.T, newRouter New) {
	r := started(t, newRouter, selector.Registry(Registry(t, Service("shop", 4, "v1")...)),
		router.Strategy(router.RoundRobin), router.Eject(5, 300*time.Millisecond, time.Second))
	broken := merrors.InternalServerError("shop", "broken")
	call := func(failing string) string {
		next, err := r.Select("shop")
		if err != nil {
			t.Fatal(err)
		}
		node, err := next()
		if err != nil {
			t.Fatal(err)
		}
		err = nil
		if node.Id == failing {
			err = broken
		}
		r.Mark("shop", node, err)
		return node.Id
	}
	got := 0
	for range 100 {
		if call("v1-0") == "v1-0" {
			got++
		}
	}
	if got != 5 {
		t.Errorf("the failing node got %d of 100 calls, want the 5 that eject it", got)
	}
	Eventually(t, "the node is back once it is well", func() bool {
		back := 0
		for range 40 {
			if call("") == "v1-0" {
				back++
			}
		}
		return back >= 9
	})
}

func testPanic(t *testing.T, newRouter New) {
	r := started(t, newRouter, selector.Registry(Registry(t, Service("shop", 4, "v1")...)), router.Strategy(router.RoundRobin))
	for range 400 {
		Take(t, r, "shop", merrors.InternalServerError("shop", "broken"))
	}
	seen := map[string]bool{}
	for range 100 {
		seen[Take(t, r, "shop", nil).Id] = true
	}
	if len(seen) < 2 {
		t.Errorf("with all nodes failing only %v of 4 get calls", seen)
	}
}

func testStats(t *testing.T, newRouter New) {
	r := started(t, newRouter, selector.Registry(Registry(t, Service("shop", 2, "v1")...)))
	node := Take(t, r, "shop", nil)
	for _, err := range []error{nil, nil, merrors.InternalServerError("shop", "broken"), merrors.Timeout("shop", "late"), merrors.NotFound("shop", "none")} {
		r.Record(request{"shop", "Orders.Place"}, node, 10*time.Millisecond, err)
	}
	r.Record(request{"nobody", "X.Y"}, node, time.Second, nil)
	r.Record(request{"shop", "Orders.Place"}, nil, 10*time.Millisecond, nil)
	all, err := r.Stats()
	if err != nil || len(all) != 1 || all[0].Service.Name != "shop" || len(all[0].Client.Nodes) != 1 {
		t.Fatalf("%d stats, %v", len(all), err)
	}
	s := all[0]
	if len(s.Endpoints) != 1 || s.Endpoints[0].Name != "Orders.Place" {
		t.Fatalf("endpoints %+v", s.Endpoints)
	}
	e := s.Endpoints[0]
	if e.Success.Count != 3 || e.Errors.Count != 2 || e.Dropped.Count != 1 || e.Success.Mean < 9 || e.Success.Mean > 11 {
		t.Errorf("endpoint %+v", e)
	}
	if len(s.Selected) != 1 || s.Selected[0].Node.Id != node.Id {
		t.Fatalf("selected %+v", s.Selected)
	}
	// What the caller did wrong is not an error of the node.
	if n := s.Selected[0]; n.Success.Count != 3 || n.Errors.Count != 1 || n.Dropped.Count != 1 {
		t.Errorf("node %+v", n)
	}
}

type request struct{ service, method string }

func (r request) Service() string { return r.service }
func (r request) Method() string  { return r.method }

// testNotReady has a function of the user's panic, hang and come to its senses.
func testNotReady(t *testing.T, newRouter New) {
	var mood atomic.Value // "panic", "hang" or the node that is not ready
	var asked atomic.Int64
	mood.Store("panic")
	free := make(chan struct{})
	f := func(node string) bool {
		asked.Add(1)
		switch m := mood.Load(); m {
		case "panic":
			panic(m)
		case "hang":
			<-free
			return false
		default:
			return node == m
		}
	}
	r := started(t, newRouter, selector.Registry(Registry(t, Service("shop", 3, "v1")...)), router.NotReady(f), router.Logger(slog.New(slog.DiscardHandler)))
	spared := func(id string) bool {
		for range 50 {
			if Take(t, r, "shop", nil).Id == id {
				return false
			}
		}
		return true
	}
	Take(t, r, "shop", nil)
	Eventually(t, "the function panics", func() bool { return asked.Load() > 3 })
	mood.Store("hang")
	hangs := asked.Load()
	Eventually(t, "the function hangs", func() bool { return asked.Load() > hangs })
	Take(t, r, "shop", nil)
	mood.Store("v1-1")
	close(free)
	Eventually(t, "the node that is not ready gets no calls", func() bool { return spared("v1-1") })
}

func testExplain(t *testing.T, newRouter New) {
	r := started(t, newRouter, selector.Registry(Registry(t, Service("shop", 2, "v1")...)))
	if _, err := r.Explain("shop"); !errors.Is(err, router.ErrNotFound) {
		t.Errorf("before use: %v", err)
	}
	Take(t, r, "shop", nil)
	e, err := r.Explain("shop")
	if err != nil || len(e.Nodes) != 2 || len(e.Versions) != 1 || e.Versions[0].Percent != 100 {
		t.Errorf("%+v, %v", e, err)
	}
}

func testDraining(t *testing.T, newRouter New) {
	services := Service("shop", 2, "v1")
	reg := Registry(t, services...)
	r := started(t, newRouter, selector.Registry(reg))
	Take(t, r, "shop", nil)
	services[0].Nodes[0].Metadata["status"] = "DRAINING"
	if err := reg.Register(services[0]); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	row := 0
	Eventually(t, "the draining node gets no calls", func() bool {
		if row++; Take(t, r, "shop", nil).Id == "v1-0" {
			row = 0
		}
		return row > 100
	})
	d := time.Since(begun)
	t.Logf("a draining node is left after %v", d.Round(time.Millisecond))
	if d > 10*time.Second { // a busy machine
		t.Errorf("it took %v", d)
	}
	next, err := r.Select("shop", selector.WithFilter(selector.FilterLabel("number", "0")))
	if err == nil {
		if node, err := next(); err == nil {
			t.Errorf("a filter brought the draining node back: %v", node)
		}
	}
	services[0].Nodes[1].Metadata["status"] = "DRAINING"
	if err := reg.Register(services[0]); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "no node takes calls when all drain", func() bool {
		next, err := r.Select("shop")
		if err != nil {
			return true
		}
		node, err := next()
		if err == nil {
			r.Mark("shop", node, nil)
		}
		return err != nil
	})
}
