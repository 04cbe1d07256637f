package balance_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/micro/go-platform/router/internal/balance"
)

// finish makes a call to a node and ends it.
func (w *world) finish(id string, o balance.Outcome) {
	m := w.Find(id)
	w.Begin(m, false)
	w.Done(m, o, time.Millisecond, w.now)
	w.End(m, o, false)
}

// pass lets time go by, tick by tick.
func (w *world) pass(d time.Duration) {
	for end := w.now + int64(d); w.now < end; {
		w.now += int64(100 * time.Millisecond)
		w.Tick()
	}
}

// reached is the nodes that get some of n calls, which do not end.
func (w *world) reached(n int) map[string]int {
	seen := map[string]int{}
	for range n {
		if m, err := w.Pick(nil, nil); err == nil {
			seen[m.Node.Id]++
		}
	}
	return seen
}

func roundRobin(c *balance.Config) { c.Strategy = balance.RoundRobin }

func TestFailuresInARowEject(t *testing.T) {
	w := newWorld(roundRobin)
	w.Update(version("v1", 4), nil)
	for i := range 5 {
		if w.reached(8)["v1-0"] == 0 {
			t.Fatalf("out after %d failures", i)
		}
		w.finish("v1-0", balance.Failed)
	}
	if seen := w.reached(100); seen["v1-0"] > 0 {
		t.Fatalf("still reached after five failures: %v", seen)
	}
	// Half open after two seconds, give or take a fifth: one call at a time.
	w.pass(1500 * time.Millisecond)
	if seen := w.reached(100); seen["v1-0"] > 0 {
		t.Fatalf("back too early: %v", seen)
	}
	w.pass(time.Second)
	if seen := w.reached(100); seen["v1-0"] != 1 {
		t.Fatalf("on probation it got %v of 100 calls", seen)
	}
	w.finish("v1-0", balance.Failed)
	if seen := w.reached(100); seen["v1-0"] != 0 {
		t.Fatalf("failed on probation, still reached: %v", seen)
	}
	w.pass(2600 * time.Millisecond)
	if seen := w.reached(100); seen["v1-0"] != 0 {
		t.Fatalf("the second time is not longer than the first: %v", seen)
	}
	w.pass(3 * time.Second)
	for range 3 {
		if seen := w.reached(100); seen["v1-0"] != 1 {
			t.Fatalf("on probation it got %v of 100 calls", seen)
		}
		w.finish("v1-0", balance.OK)
	}
	if seen := w.reached(100); seen["v1-0"] != 25 {
		t.Fatalf("after three good calls: %v", seen)
	}
}

func TestAProbeNobodyEndsIsGivenUp(t *testing.T) {
	w := newWorld(roundRobin)
	w.Update(version("v1", 4), nil)
	for range 5 {
		w.finish("v1-0", balance.Failed)
	}
	w.pass(3 * time.Second)
	if w.reached(100)["v1-0"] != 1 {
		t.Fatal("no probe")
	}
	w.pass(5 * time.Second)
	if w.reached(100)["v1-0"] != 0 {
		t.Fatal("two probes at a time")
	}
	w.pass(6 * time.Second)
	if w.reached(100)["v1-0"] != 1 {
		t.Fatal("no second probe")
	}
}

func TestNeverBelowHalf(t *testing.T) {
	for n := 1; n <= 9; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			w := newWorld(roundRobin)
			w.Update(version("v1", n), nil)
			for i := range n {
				for range 10 {
					w.finish(fmt.Sprintf("v1-%d", i), balance.Failed)
				}
				if seen := w.reached(10 * n); 2*len(seen) < n {
					t.Fatalf("with %d failing %d of %d are left", i+1, len(seen), n)
				}
			}
		})
	}
}

func TestWhatOthersAdviseNeverGoesBelowHalf(t *testing.T) {
	w := newWorld(roundRobin)
	p := &balance.Policy{Nodes: map[string]balance.NodePolicy{}}
	for i := range 3 {
		p.Nodes[fmt.Sprintf("v1-%d", i)] = balance.NodePolicy{Ejected: w.now + int64(time.Second), Reason: "success_rate"}
	}
	w.Update(version("v1", 4), p)
	if seen := w.reached(100); len(seen) != 4 {
		t.Errorf("three of four ejected by others: %v", seen)
	}
	delete(p.Nodes, "v1-2")
	w.Update(version("v1", 4), p)
	if seen := w.reached(100); len(seen) != 2 || seen["v1-0"]+seen["v1-1"] > 0 {
		t.Errorf("two of four ejected by others: %v", seen)
	}
	w.pass(1100 * time.Millisecond)
	if seen := w.reached(100); len(seen) != 4 {
		t.Errorf("the ejection does not end by itself: %v", seen)
	}
	w.Ready(func(id string) bool { return id == "v1-3" })
	if seen := w.reached(100); len(seen) != 3 || seen["v1-3"] > 0 {
		t.Errorf("one not ready: %v", seen)
	}
	w.Ready(func(string) bool { return true })
	if seen := w.reached(100); len(seen) != 4 {
		t.Errorf("all not ready: %v", seen)
	}
}

func TestSuccessRateEjects(t *testing.T) {
	for _, c := range []struct {
		nodes, failing int
		every          int // of its calls one fails
		out            bool
	}{
		{10, 1, 2, true}, {3, 1, 2, true}, {2, 1, 2, true}, {10, 1, 3, true}, {10, 1, 20, false}, {1, 1, 2, false}, {4, 4, 2, false},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			w := newWorld(roundRobin)
			w.Update(version("v1", c.nodes), nil)
			w.Tick()
			for call := range 60 {
				for i := range c.nodes {
					o := balance.OK
					if i < c.failing && call%c.every == 0 {
						o = balance.Failed
					}
					w.finish(fmt.Sprintf("v1-%d", i), o)
				}
			}
			w.pass(200 * time.Millisecond)
			if out := w.reached(100)["v1-0"] == 0; out != c.out {
				t.Errorf("ejected: %v", out)
			}
		})
	}
}

func TestOnlyFailuresOfTheNodeCount(t *testing.T) {
	for _, o := range []balance.Outcome{balance.OK, balance.Refused, balance.Void} {
		w := newWorld(roundRobin)
		w.Update(version("v1", 2), nil)
		for range 100 {
			w.finish("v1-0", o)
		}
		w.pass(time.Second)
		if w.reached(100)["v1-0"] != 50 {
			t.Errorf("outcome %d ejects", o)
		}
	}
}

func TestAnUnreachableNodeIsOutUntilItIsFound(t *testing.T) {
	w := newWorld(func(c *balance.Config) { c.Strategy = balance.RoundRobin })
	w.Update(version("v1", 3), nil)
	w.finish("v1-0", balance.Unreached)
	for range 45 {
		w.pass(time.Second)
		if seen := w.reached(30); seen["v1-0"] > 0 {
			t.Fatalf("a call found out: %v", seen)
		}
	}
	if lost := w.Lost(); len(lost) != 1 || lost[0].Id != "v1-0" {
		t.Fatalf("lost: %v", lost)
	}
	w.Found("v1-0")
	if seen := w.reached(30); seen["v1-0"] != 1 || len(w.Lost()) != 0 {
		t.Fatalf("found, but %v", seen)
	}
}

func TestRefusalsMakeLessPopular(t *testing.T) {
	w := newWorld(nil)
	w.Update(version("v1", 2), nil)
	w.Tick()
	for range 50 {
		w.finish("v1-0", balance.Refused)
		w.finish("v1-1", balance.OK)
	}
	w.finish("v1-0", balance.OK)
	w.pass(200 * time.Millisecond)
	if seen := w.reached(100); seen["v1-0"] > 10 {
		t.Errorf("the busy node got %d of 100", seen["v1-0"])
	}
}

func TestASlowNodeGetsLittle(t *testing.T) {
	for _, timed := range []bool{false, true} { // measured by a wrapper, or guessed from calls in flight
		w := newWorld(nil)
		w.Update(version("v1", 10), nil)
		w.Tick()
		seen := map[string]int{}
		for i := range 4000 { // one after the other: nothing else is in flight
			m, _ := w.Pick(nil, nil)
			d := 2 * time.Millisecond
			if m.Node.Id == "v1-0" {
				d *= 10
			}
			w.Begin(m, timed)
			w.now += int64(d)
			if !timed {
				w.Done(m, balance.OK, d, w.now)
			}
			w.End(m, balance.OK, timed)
			if i%20 == 0 {
				w.Tick()
			}
			if w.now > int64(3*time.Second) { // it began at one second
				seen[m.Node.Id]++
			}
		}
		total := 0
		for _, n := range seen {
			total += n
		}
		if share := float64(seen["v1-0"]) / float64(total) * 10; share >= 0.15 {
			t.Errorf("timed %v: %.0f %% of its fair share", timed, share*100)
		}
	}
}

// TestConnectingIsNotLatency: what the first calls wait for is the connection,
// and a peak is forgotten after some hundred good calls.
func TestConnectingIsNotLatency(t *testing.T) {
	w := newWorld(nil)
	w.Update(version("v1", 2), nil)
	latency := func() time.Duration {
		for _, n := range w.Explain(nil).Nodes {
			if n.Node.Id == "v1-0" {
				return n.Latency
			}
		}
		return 0
	}
	take := func(d time.Duration) {
		m := w.Find("v1-0")
		w.Begin(m, false)
		w.Done(m, balance.OK, d, w.now)
		w.End(m, balance.OK, false)
	}
	take(500 * time.Millisecond)
	take(400 * time.Millisecond) // began before the first answer
	if d := latency(); d != 0 {
		t.Errorf("latency %v of calls that had to connect", d)
	}
	w.now += int64(time.Second)
	take(100 * time.Millisecond)
	if d := latency(); d != 100*time.Millisecond {
		t.Errorf("latency %v after a peak of 100ms", d)
	}
	for range 300 {
		w.now += int64(time.Millisecond)
		take(time.Millisecond)
	}
	if d := latency(); d > 3*time.Millisecond {
		t.Errorf("latency %v after 300 calls of 1ms", d)
	}
}

func TestCallsWhoseEndNobodyTellsAreForgotten(t *testing.T) {
	w := newWorld(nil)
	w.Update(version("v1", 1), nil)
	w.Tick()
	for range 10 {
		w.Begin(w.Find("v1-0"), false)
	}
	w.pass(50 * time.Second)
	if n := w.Find("v1-0").Load.InFlight(); n != 10 {
		t.Errorf("%d in flight", n)
	}
	w.pass(20 * time.Second)
	if n := w.Find("v1-0").Load.InFlight(); n != 0 {
		t.Errorf("%d in flight after a minute without an end", n)
	}
	w.End(w.Find("v1-0"), balance.OK, false)
	if n := w.Find("v1-0").Load.InFlight(); n != 0 {
		t.Errorf("%d in flight after a late end", n)
	}
}

func TestResetForgets(t *testing.T) {
	w := newWorld(roundRobin)
	w.Update(version("v1", 2), nil)
	for range 5 {
		w.finish("v1-0", balance.Failed)
	}
	w.Reset()
	if seen := w.reached(10); seen["v1-0"] != 5 {
		t.Errorf("after Reset: %v", seen)
	}
}

func TestANewAddressIsANewNode(t *testing.T) {
	w := newWorld(roundRobin)
	nodes := version("v1", 2)
	w.Update(nodes, nil)
	for range 5 {
		w.finish("v1-0", balance.Failed)
	}
	w.Update(nodes, nil)
	if seen := w.reached(10); seen["v1-0"] != 0 {
		t.Errorf("an update forgot the ejection: %v", seen)
	}
	moved := version("v1", 2)
	moved[0].Node.Address = "10.0.0.2:1"
	w.Update(moved, nil)
	if seen := w.reached(10); seen["v1-0"] != 5 {
		t.Errorf("it moved: %v", seen)
	}
}
