package monitor_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"

	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"github.com/micro/go-platform/monitor"
)

// failing registers a ready check that fails while the switch is on.
func failing(t *testing.T, m monitor.Monitor) *atomic.Bool {
	t.Helper()
	var bad atomic.Bool
	if err := m.Register(m.NewHealthChecker("db", "", func() (map[string]string, error) {
		if bad.Load() {
			return nil, errors.New("away")
		}
		return nil, nil
	}, monitor.Every(100*time.Millisecond))); err != nil {
		t.Fatal(err)
	}
	return &bad
}

// reached makes calls and tells which nodes answered.
func reached(t *testing.T, svc echo.EchoService, w *world) map[string]bool {
	t.Helper()
	seen := map[string]bool{}
	for range 20 {
		// The rpc stack loses a call now and then, under -race one in some
		// hundreds: no reason to wait its five seconds.
		ctx, cancel := context.WithTimeout(w.context(), time.Second)
		rsp, err := svc.Call(ctx, &echo.Request{})
		cancel()
		if call.Of(err) == call.Dropped {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		seen["shop-"+rsp.Text] = true
	}
	return seen
}

func TestNotReadyNodesLeaveRouting(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		w := newWorld(t)
		a, idA := w.serve(stack, "shop", monitor.Interval(time.Hour))
		b, idB := w.serve(stack, "shop", monitor.Interval(time.Hour))
		badA, badB := failing(t, a), failing(t, b)
		caller, _ := w.serve(stack, "caller")
		svc := echo.NewEchoService("shop", monitor.ReadyWrapper(caller)(w.Client(stack)))
		only := func(what string, ids ...string) {
			t.Helper()
			// The checks run every 0.1 s.
			begun := time.Now()
			rpctest.Eventually(t, what, func() bool {
				seen := reached(t, svc, w)
				for _, id := range ids {
					if !seen[id] {
						return false
					}
				}
				return len(seen) == len(ids)
			})
			d := time.Since(begun)
			t.Logf("%s: after %v", what, d.Round(time.Millisecond))
			if d > 10*time.Second && stack == rpctest.GRPC { // the rpc stack may have lost calls
				t.Errorf("%s only after %v", what, d)
			}
		}
		only("both nodes get calls", idA, idB)
		badA.Store(true)
		only("a is left out", idB)
		badB.Store(true)
		only("panic threshold: none is left, so all get calls", idA, idB)
		badB.Store(false)
		only("b alone is well", idB)
		badA.Store(false)
		only("a is back", idA, idB)
		if err := b.Drain(); err != nil {
			t.Fatal(err)
		}
		only("b drains", idA)
	})
}

func TestADeadServerTakesNoRoutesAway(t *testing.T) {
	t.Parallel() // it waits, and has a network of its own
	w := newWorld(t)
	a, id := w.serve(rpctest.GRPC, "shop")
	bad := failing(t, a)
	caller, _ := w.serve(rpctest.GRPC, "caller", monitor.ForgetAfter(time.Second))
	bad.Store(true)
	rpctest.Eventually(t, "the node is known not to be ready", func() bool { return caller.NotReady(id) })
	if err := w.srv.Stop(); err != nil {
		t.Fatal(err)
	}
	rpctest.Eventually(t, "the list ages out", func() bool { return !caller.NotReady(id) })
}

// fixed says that the listed nodes are not ready.
type fixed struct {
	monitor.Monitor
	bad map[string]bool
}

func (f fixed) NotReady(node string) bool { return f.bad[node] }

func TestReadyFilterKeepsToItsThreshold(t *testing.T) {
	nodes := func(ids string) (all []*registry.Node) {
		for _, id := range strings.Fields(ids) {
			all = append(all, &registry.Node{Id: id})
		}
		return all
	}
	given := []*registry.Service{
		{Name: "s", Version: "1", Nodes: nodes("a b c")},
		{Name: "s", Version: "2", Nodes: nodes("d")},
	}
	for bad, want := range map[string]string{
		"":                   "a b c d",
		"x":                  "a b c d",
		"a":                  "b c d",
		"d":                  "a b c",
		"a b":                "c d",
		"a b c":              "a b c d",
		"a b c d":            "a b c d",
		"a b c d, 25":        "a b c d",
		"a b c, 25":          "d",
		"a, 100":             "a b c d",
		"a b, 75":            "a b c d",
		"a b c d, -1":        "a b c d",
		"a d, 1000 (is 100)": "a b c d",
	} {
		list, percent, custom := strings.Cut(bad, ", ")
		m := fixed{bad: map[string]bool{}}
		for _, id := range strings.Fields(list) {
			m.bad[id] = true
		}
		var opts []monitor.FilterOption
		if custom {
			n := map[string]int{"25": 25, "75": 75, "100": 100, "-1": -1, "1000 (is 100)": 1000}[percent]
			opts = append(opts, monitor.PanicThreshold(n))
		}
		var o selector.SelectOptions
		monitor.ReadyFilter(m, opts...)(&o)
		var got []string
		for _, s := range o.Filters[0](given) {
			if len(s.Nodes) == 0 {
				t.Errorf("%q: a version without nodes is left", bad)
			}
			for _, n := range s.Nodes {
				got = append(got, n.Id)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("not ready %q: kept %v, want %s", bad, got, want)
		}
	}
	if len(given[0].Nodes) != 3 || len(given[1].Nodes) != 1 {
		t.Error("the filter changed what it was given")
	}
}
