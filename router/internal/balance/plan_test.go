package balance_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/router/internal/balance"
)

// world is a pool with a clock and chance of its own.
type world struct {
	*balance.Pool
	now int64
}

func newWorld(change func(*balance.Config)) *world {
	w := &world{now: int64(time.Second)}
	conf := &balance.Config{Rand: rand.New(rand.NewPCG(1, 2)).Uint64, Now: func() int64 { return w.now }}
	if change != nil {
		change(conf)
	}
	conf.Fill()
	w.Pool = balance.New(conf)
	return w
}

func version(name string, nodes int, metadata ...string) (all []balance.Candidate) {
	owner := &registry.Service{Name: "shop", Version: name}
	for i := range nodes {
		n := &registry.Node{Id: fmt.Sprintf("%s-%d", name, i), Address: "10.0.0.1:1", Metadata: map[string]string{}}
		for k := 0; k+1 < len(metadata); k += 2 {
			n.Metadata[metadata[k]] = metadata[k+1]
		}
		all = append(all, balance.Candidate{Owner: owner, Node: n})
	}
	return all
}

func join(all ...[]balance.Candidate) (joined []balance.Candidate) {
	for _, c := range all {
		joined = append(joined, c...)
	}
	return joined
}

// percents counts where n calls go, in percent by version.
func (w *world) percents(t *testing.T, n int, call func(i int) *balance.Call) map[string]float64 {
	t.Helper()
	seen := map[string]float64{}
	for i := range n {
		m, err := w.Pick(call(i), nil)
		if err != nil {
			seen["none"] += 100 / float64(n)
			continue
		}
		w.Begin(m, false)
		w.Done(m, balance.OK, time.Millisecond, w.now)
		w.End(m, balance.OK, false)
		seen[m.Version] += 100 / float64(n)
	}
	return seen
}

func same(int) *balance.Call { return nil }

func labels(pairs ...string) *balance.Call {
	c := &balance.Call{}
	for i := 0; i+1 < len(pairs); i += 2 {
		c.Labels = append(c.Labels, balance.Label{Key: pairs[i], Value: pairs[i+1]})
	}
	return c
}

func TestRules(t *testing.T) {
	three := join(version("v1", 3), version("v2", 1), version("v3", 1))
	for _, c := range []struct {
		name  string
		nodes []balance.Candidate
		rules []balance.Rule
		call  *balance.Call
		want  map[string]float64
	}{
		{"no rule: by nodes", three, nil, nil, map[string]float64{"v1": 60, "v2": 20, "v3": 20}},
		{"a canary of ten", join(version("v1", 3), version("v2", 1)), []balance.Rule{{Version: "v2", Weight: 10}}, nil, map[string]float64{"v1": 90, "v2": 10}},
		{"the rest by nodes", three, []balance.Rule{{Version: "v2", Weight: 20}}, nil, map[string]float64{"v1": 60, "v2": 20, "v3": 20}},
		{"all given", three, []balance.Rule{{Version: "v1", Weight: 50}, {Version: "v2", Weight: 30}, {Version: "v3", Weight: 20}}, nil, map[string]float64{"v1": 50, "v2": 30, "v3": 20}},
		{"more than all", three, []balance.Rule{{Version: "v1", Weight: 100}, {Version: "v2", Weight: 100}}, nil, map[string]float64{"v1": 50, "v2": 50}},
		{"less than all", join(version("v1", 1), version("v2", 1)), []balance.Rule{{Version: "v1", Weight: 10}, {Version: "v2", Weight: 30}}, nil, map[string]float64{"v1": 25, "v2": 75}},
		{"out of service", three, []balance.Rule{{Version: "v1", Weight: 0}}, nil, map[string]float64{"v2": 50, "v3": 50}},
		{"the whole service", three, []balance.Rule{{Weight: 0}}, nil, map[string]float64{"none": 100}},
		{"all but one", three, []balance.Rule{{Weight: 0}, {Version: "v3", Weight: 1, Priority: 1}}, nil, map[string]float64{"v3": 100}},
		{"higher priority wins", three, []balance.Rule{{ID: "b", Version: "v2", Weight: 0, Priority: 1}, {ID: "a", Version: "v2", Weight: 100, Priority: 2}}, nil, map[string]float64{"v2": 100}},
		{"then the id", three, []balance.Rule{{ID: "b", Version: "v2", Weight: 0}, {ID: "a", Version: "v2", Weight: 100}}, nil, map[string]float64{"v1": 75, "v3": 25}},
		{"a missing version gives its part away", version("v1", 1), []balance.Rule{{Version: "v2", Weight: 100}}, nil, map[string]float64{"v1": 100}},
		{"keyed, no label", three, []balance.Rule{{Version: "v2", Weight: 0}, {Version: "v2", Weight: 100, Priority: 1, Key: "beta", Value: "yes"}}, nil, map[string]float64{"v1": 75, "v3": 25}},
		{"keyed, label", three, []balance.Rule{{Version: "v2", Weight: 0}, {Version: "v2", Weight: 100, Priority: 1, Key: "Beta", Value: "YES"}}, labels("beta", "yes"), map[string]float64{"v2": 100}},
		{"keyed, other value", three, []balance.Rule{{Version: "v2", Weight: 0}, {Version: "v2", Weight: 100, Priority: 1, Key: "beta", Value: "yes"}}, labels("beta", "no"), map[string]float64{"v1": 75, "v3": 25}},
		{"keyed, any value", three, []balance.Rule{{Version: "v2", Weight: 100, Key: "beta"}}, labels("beta", "no"), map[string]float64{"v2": 100}},
		{"no steering past a rule", three, []balance.Rule{{Version: "v2", Weight: 100, Key: "beta"}, {Version: "v2", Weight: 0, Priority: 9}}, labels("beta", "yes"), map[string]float64{"v1": 75, "v3": 25}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(func(c *balance.Config) { c.Strategy = balance.Random })
			p := &balance.Policy{Rules: c.rules}
			p.Lower()
			p.Sort()
			w.Update(c.nodes, p)
			got := w.percents(t, 100_000, func(int) *balance.Call { return c.call })
			for _, v := range []string{"v1", "v2", "v3", "none"} {
				if math.Abs(got[v]-c.want[v]) > 1 {
					t.Errorf("%s got %.2f %%, want %v", v, got[v], c.want[v])
				}
			}
		})
	}
}

func user(i int) *balance.Call {
	return &balance.Call{Sticky: true, Point: balance.Point("shop", fmt.Sprint("user-", i))}
}

func TestACanaryIsStickyAndGrows(t *testing.T) {
	nodes := join(version("v1", 3), version("v2", 2))
	in := func(weight int) map[int]bool {
		w := newWorld(nil)
		w.Update(nodes, &balance.Policy{Rules: []balance.Rule{{Version: "v2", Weight: weight}}})
		canary := map[int]bool{}
		if got := w.percents(t, 100_000, user)["v2"]; math.Abs(got-float64(weight)) > 1 {
			t.Errorf("weight %d got %.2f %% of 100 000 users", weight, got)
		}
		for i := range 2000 {
			first, _ := w.Pick(user(i), nil) // a nil member fails below
			for range 3 {
				if m, _ := w.Pick(user(i), nil); m.Version != first.Version { // a nil member fails below
					t.Fatalf("user %d went to %s, then to %s", i, first.Version, m.Version)
				}
			}
			canary[i] = first.Version == "v2"
		}
		return canary
	}
	ten, twenty := in(10), in(20)
	for i := range ten {
		if ten[i] && !twenty[i] {
			t.Fatalf("user %d left the canary when it grew", i)
		}
	}
}

func TestAUserStaysWithAVersionWithoutRules(t *testing.T) {
	w := newWorld(nil)
	w.Update(join(version("v1", 3), version("v2", 1)), nil)
	if !w.Divided() {
		t.Error("nobody would ask for the key")
	}
	if got := w.percents(t, 20_000, user)["v2"]; math.Abs(got-25) > 1 {
		t.Errorf("v2 has one of four nodes and %.2f %% of the users", got)
	}
	for i := range 1000 {
		first, _ := w.Pick(user(i), nil) // a nil member fails below
		for range 3 {
			if m, _ := w.Pick(user(i), nil); m.Version != first.Version { // a nil member fails below
				t.Fatalf("user %d went to %s, then to %s", i, first.Version, m.Version)
			}
		}
	}
}

func TestPointsAreTheSameInEveryProcess(t *testing.T) {
	if got := fmt.Sprintf("%.6f", balance.Point("shop", "user-1")); got != "18.232728" {
		t.Errorf("user-1 is at %s: users of a running canary would move", got)
	}
	if balance.Point("shop", "user-1") == balance.Point("stock", "user-1") {
		t.Error("the same users come first at every service")
	}
}

func TestLabelsMustAllMatch(t *testing.T) {
	nodes := join(version("both", 1, "Env", "Staging", "tier", "gold"), version("env", 1, "env", "staging"), version("none", 2))
	rules := []balance.LabelRule{{ID: "e", Key: "env", Weight: 100}, {ID: "t", Key: "tier", Weight: 100}}
	strict := []balance.LabelRule{{ID: "e", Key: "env", Weight: 100, Strict: true}, {ID: "t", Key: "tier", Weight: 100}}
	for _, c := range []struct {
		name  string
		rules []balance.LabelRule
		call  *balance.Call
		want  map[string]float64
	}{
		{"none", rules, nil, map[string]float64{"both": 25, "env": 25, "none": 50}},
		{"one", rules, labels("env", "staging"), map[string]float64{"both": 50, "env": 50}},
		{"two", rules, labels("env", "staging", "tier", "gold"), map[string]float64{"both": 100}},
		{"fallback", rules, labels("env", "staging", "tier", "silver"), map[string]float64{"both": 25, "env": 25, "none": 50}},
		{"no fallback", strict, labels("env", "staging", "tier", "silver"), map[string]float64{"none": 0, "": 0, "fails": 100}},
		{"unknown label", rules, labels("color", "blue", "env", "staging"), map[string]float64{"both": 50, "env": 50}},
		{"half bound", []balance.LabelRule{{Key: "tier", Weight: 50}}, labels("tier", "gold"), map[string]float64{"both": 62.5, "env": 12.5, "none": 25}},
		{"switched off", append([]balance.LabelRule{{Key: "tier", Weight: 0, Priority: 5}}, rules...), labels("tier", "gold"), map[string]float64{"both": 25, "env": 25, "none": 50}},
		{"of a version", []balance.LabelRule{{Key: "env", Version: "env", Weight: 100}}, labels("env", "staging"), map[string]float64{"env": 100}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(func(c *balance.Config) { c.Strategy = balance.Random })
			p := &balance.Policy{Labels: c.rules}
			p.Lower()
			p.Sort()
			w.Update(nodes, p)
			got := map[string]float64{}
			const n = 40_000
			for range n {
				m, err := w.Pick(c.call, nil)
				if err != nil {
					got["fails"] += 100.0 / n
					continue
				}
				got[m.Version] += 100.0 / n
			}
			for v, want := range c.want {
				if math.Abs(got[v]-want) > 1 {
					t.Errorf("%s got %.2f %%, want %v", v, got[v], want)
				}
			}
		})
	}
}

func TestLabelsReachNoVersionThatRulesTookOut(t *testing.T) {
	w := newWorld(nil)
	p := &balance.Policy{
		Rules:  []balance.Rule{{Version: "internal", Weight: 0}},
		Labels: []balance.LabelRule{{Key: "stage", Weight: 100}},
	}
	w.Update(join(version("v1", 2), version("internal", 2, "stage", "internal")), p)
	for range 1000 {
		if m, err := w.Pick(labels("stage", "internal"), nil); err == nil && m.Version == "internal" {
			t.Fatal("a label steered a call to a version that is out of service")
		}
	}
}

func TestZones(t *testing.T) {
	for _, strategy := range []balance.Strategy{balance.PeakEWMA, balance.LeastConnections, balance.RoundRobin, balance.Random} {
		t.Run(string(strategy), func(t *testing.T) {
			w := newWorld(func(c *balance.Config) { c.Zone, c.Strategy = "a", strategy })
			w.Update(join(version("near", 2, "zone", "a"), version("far", 4, "zone", "b")), nil)
			if got := w.percents(t, 1000, same); got["near"] < 99.9 {
				t.Errorf("all well: %v", got)
			}
			// One of two near ones in trouble: half of the zone will do.
			near := w.Find("near-0")
			fail := func(m *balance.Member) {
				for range 5 {
					w.Begin(m, false)
					w.Done(m, balance.Failed, time.Millisecond, w.now)
					w.End(m, balance.Failed, false)
				}
			}
			fail(near)
			if got := w.percents(t, 1000, same); got["near"] < 99.9 {
				t.Errorf("one of two in trouble: %v", got)
			}
			fail(w.Find("near-1"))
			if got := w.percents(t, 1000, same); got["far"] < 99.9 {
				t.Errorf("no near one well: %v", got)
			}
		})
	}
	t.Run("spills over", func(t *testing.T) {
		w := newWorld(func(c *balance.Config) { c.Zone = "a" })
		w.Update(join(version("near", 1, "zone", "a"), version("far", 3, "zone", "b")), nil)
		w.percents(t, 100, same)
		for range 20 { // under way
			w.Begin(w.Find("near-0"), false)
		}
		if got := w.percents(t, 1000, same); got["far"] < 50 {
			t.Errorf("20 calls in flight in the zone, none elsewhere: %v", got)
		}
	})
}

// A try after the first meets a node that was not tried as long as there is one,
// of the zone as long as there is one there.
func TestTriedNodesComeLast(t *testing.T) {
	for _, strategy := range []balance.Strategy{balance.PeakEWMA, balance.LeastConnections, balance.RoundRobin, balance.Random} {
		for _, weighted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, weighted %v", strategy, weighted), func(t *testing.T) {
				w := newWorld(func(c *balance.Config) { c.Zone, c.Strategy = "a", strategy })
				policy := &balance.Policy{}
				if weighted {
					policy.Nodes = map[string]balance.NodePolicy{"near-0": {Weight: 0.01}, "far-3": {Weight: 0.01}}
				}
				for _, nodes := range []int{1, 2, 20} {
					w.Update(join(version("near", 2, "zone", "a"), version("far", nodes, "zone", "b")), policy)
					for range 200 {
						triesOfOne(t, w, nodes)
					}
				}
			})
		}
	}
}

// triesOfOne makes four tries of one call to two nodes near and some far.
func triesOfOne(t *testing.T, w *world, far int) {
	t.Helper()
	var tried []*balance.Member
	for try := range 4 {
		m, err := w.Pick(nil, tried)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(tried, m) != (try >= 2+far) {
			t.Fatalf("try %d of 2 near, %d far: %s after %d others", try, far, m.Node.Id, len(tried))
		}
		if (m.Version == "near") != (try < 2 || try >= 2+far) {
			t.Fatalf("try %d of 2 near, %d far: %s", try, far, m.Node.Id)
		}
		tried = append(tried, m)
	}
}

func TestWeights(t *testing.T) {
	for _, strategy := range []balance.Strategy{balance.RoundRobin, balance.Random} {
		w := newWorld(func(c *balance.Config) { c.Strategy = strategy })
		p := &balance.Policy{Nodes: map[string]balance.NodePolicy{"v1-0": {Weight: 0.1}, "v1-1": {Weight: 0.5}}}
		w.Update(version("v1", 3), p)
		seen := map[string]float64{}
		const n = 100_000
		for range n {
			m, _ := w.Pick(nil, nil) // a nil member fails below
			seen[m.Node.Id] += 100.0 / n
		}
		for id, want := range map[string]float64{"v1-0": 6.25, "v1-1": 31.25, "v1-2": 62.5} {
			if math.Abs(seen[id]-want) > 1 {
				t.Errorf("%s: %s got %.2f %%, want %v", strategy, id, seen[id], want)
			}
		}
	}
}

func TestPlansAreBounded(t *testing.T) {
	w := newWorld(nil)
	w.Update(version("v1", 3), &balance.Policy{Labels: []balance.LabelRule{{Key: "tenant", Weight: 100}}})
	for i := range 10_000 {
		if _, err := w.Pick(labels("tenant", fmt.Sprint(i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.Plans(); n > 256 {
		t.Errorf("%d plans are kept", n)
	}
}

func TestExplain(t *testing.T) {
	w := newWorld(func(c *balance.Config) { c.Zone = "a" })
	p := &balance.Policy{
		Rules: []balance.Rule{{ID: "r1", Version: "v2", Weight: 10, Priority: 3}, {ID: "r2", Version: "v3", Weight: 0}},
		Nodes: map[string]balance.NodePolicy{"v1-0": {Weight: 0.5}, "v1-1": {Ejected: math.MaxInt64, Reason: "router-srv: success_rate: 50 %"}},
	}
	w.Update(join(version("v1", 3, "zone", "a"), version("v2", 2, "zone", "b"), version("v3", 1)), p)
	for range 5 {
		m := w.Find("v2-1")
		w.Begin(m, false)
		w.End(m, balance.Failed, false)
	}
	e := w.Explain(nil)
	for _, n := range e.Nodes {
		if want := map[bool]float64{true: 1}[n.Node.Id == "v2-1"]; n.Share != want {
			t.Errorf("%s had %v of the calls, want %v", n.Node.Id, n.Share, want)
		}
	}
	text := fmt.Sprintf("%+v", e)
	for _, want := range []string{
		"{Version:v2 Percent:10 Reason:rule r1: weight 10, priority 3}", "{Version:v3 Percent:0 Reason:rule r2: weight 0",
		"{Version:v1 Percent:90", "weight 50 of 100 by router-srv", "left out: router-srv: success_rate", "ejected for", "failed in a row",
		"no part for version v3",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	w.now += int64(5 * time.Second) // and no tick
	if text = fmt.Sprintf("%+v", w.Explain(nil)); !strings.Contains(text, "ejected until the probation that is due") {
		t.Errorf("the ejection is over and no call came: %s", text)
	}
}

func FuzzPick(f *testing.F) {
	f.Add("v1", "beta", "yes", "beta", "yes", 10, uint64(7))
	f.Add("", "", "", "", "", 0, uint64(0))
	f.Add("v2", "", "", "x", "\x00", 100, uint64(1)<<63)
	f.Fuzz(func(t *testing.T, v, ruleKey, ruleValue, key, value string, weight int, r uint64) {
		w := newWorld(func(c *balance.Config) { c.Rand = func() uint64 { r = r*6364136223846793005 + 1; return r } })
		p := &balance.Policy{
			Rules:  []balance.Rule{{Version: v, Key: ruleKey, Value: ruleValue, Weight: min(max(weight, 0), 100)}},
			Labels: []balance.LabelRule{{Key: ruleKey, Value: ruleValue, Weight: min(max(weight, 0), 100)}},
		}
		p.Lower()
		w.Update(join(version("v1", 2, key, value), version("v2", 1)), p)
		for range 5 {
			if m, err := w.Pick(labels(key, value), nil); err == nil && m == nil {
				t.Fatal("neither a node nor an error")
			}
		}
		w.Explain([]balance.Label{{Key: key, Value: value}})
	})
}
