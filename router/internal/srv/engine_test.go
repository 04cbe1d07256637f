package srv_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/regcache"
	routersrv "github.com/micro/go-platform/router/internal/srv"
	pb "github.com/micro/go-platform/router/proto"
)

// behaviour is how a node serves calls.
type behaviour struct {
	latency float64 // milliseconds
	failing float64 // part of the calls
}

// world is an engine with a clock, callers that report every second, and one
// service "stock" with nodes that behave.
type world struct {
	routersrv.Engine
	t       testing.TB
	now     time.Time
	known   map[string]*regcache.Snapshot
	nodes   []behaviour
	callers int
	seq     uint64
	random  *rand.Rand
}

func newWorld(t testing.TB, callers int, nodes ...behaviour) *world {
	w := &world{t: t, now: time.Now(), nodes: nodes, callers: callers, known: map[string]*regcache.Snapshot{}, random: rand.New(rand.NewPCG(1, 2))}
	w.known["stock"] = stock(len(nodes))
	w.Engine = routersrv.NewEngine(w.now, w.known)
	return w
}

func stock(nodes int) *regcache.Snapshot {
	s := &registry.Service{Name: "stock", Version: "1"}
	for i := range nodes {
		s.Nodes = append(s.Nodes, &registry.Node{Id: nodeID(i), Address: fmt.Sprintf("10.0.1.%d:80", i)})
	}
	return &regcache.Snapshot{Name: "stock", Services: []*registry.Service{s}}
}

func nodeID(i int) string { return fmt.Sprintf("stock-%02d", i) }

func fast(n int) []behaviour {
	all := make([]behaviour, n)
	for i := range all {
		all[i] = behaviour{latency: 5}
	}
	return all
}

func caller(i int) *pb.Caller {
	return &pb.Caller{Service: "shop", Node: fmt.Sprintf("shop-%d", i)}
}

func host(i int) string { return fmt.Sprintf("10.0.0.%d", i) }

// measure is what n calls of this behaviour look like.
func (w *world) measure(b behaviour, n int) (success, errors *pb.Metrics) {
	var fine, failed int64
	for range n {
		if w.random.Float64() < b.failing {
			failed++
		} else {
			fine++
		}
	}
	noisy := b.latency * (0.9 + 0.2*w.random.Float64())
	return &pb.Metrics{Count: fine, Mean: noisy, StdDev: noisy / 4}, &pb.Metrics{Count: failed, Mean: 1}
}

// report sends what a caller saw of all nodes but those that are ejected.
func (w *world) report(i, calls int, change ...func(*pb.Stats)) {
	w.t.Helper()
	answer, err := w.Answer("stock", nil, "", w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	s := &pb.Stats{Service: &pb.Service{Name: "stock"}, DurationMs: 1000}
	for n, node := range answer.Services[0].Nodes {
		if node.Ejected {
			continue
		}
		success, errors := w.measure(w.nodes[n], calls)
		s.Selected = append(s.Selected, &pb.Selected{Node: &pb.Node{Id: node.Id}, Success: success, Errors: errors})
	}
	for _, f := range change {
		f(s)
	}
	w.send(i, host(i), s)
}

func (w *world) send(i int, host string, stats ...*pb.Stats) {
	w.t.Helper()
	w.seq++
	r := &pb.ReportRequest{Caller: caller(i), Incarnation: "a", Seq: w.seq, IntervalMs: 1000, Stats: stats}
	if err := w.Report(r, host, w.now); err != nil {
		w.t.Fatal(err)
	}
}

// seconds passes time in which every caller reports once a second.
func (w *world) seconds(n, calls int) {
	w.t.Helper()
	for range n {
		for i := range w.callers {
			w.report(i, calls)
		}
		for range 5 {
			w.now = w.now.Add(200 * time.Millisecond)
			w.Tick(w.now)
		}
	}
}

func (w *world) view() map[string]*pb.Node {
	w.t.Helper()
	answer, err := w.Answer("stock", nil, "", w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	nodes := make(map[string]*pb.Node)
	for _, s := range answer.Services {
		for _, n := range s.Nodes {
			nodes[n.Id] = n
		}
	}
	return nodes
}

func (w *world) ejected() (ids []string) {
	for i := range w.nodes {
		if n := w.view()[nodeID(i)]; n != nil && n.Ejected {
			ids = append(ids, n.Id)
		}
	}
	return ids
}

func TestSlowAndFailingNodesAmongTen(t *testing.T) {
	nodes := fast(10)
	nodes[3].latency = 50
	nodes[7].failing = 0.5
	w := newWorld(t, 3, nodes...)
	w.seconds(5, 20)
	if got := fmt.Sprint(w.ejected()); got != "[stock-07]" {
		t.Errorf("ejected %s, want the failing one", got)
	}
	for id, n := range w.view() {
		switch {
		case id == nodeID(3) && (n.Weight < 5 || n.Weight > 15):
			t.Errorf("slow node: weight %d, want about 100 / 10", n.Weight)
		case id == nodeID(7) && (n.EjectedMs < 4_000 || n.EjectedMs > 12_500 || n.Reason == ""):
			t.Errorf("failing node: %v", n)
		case id != nodeID(3) && id != nodeID(7) && n.Weight != 100:
			t.Errorf("%s, a good one: weight %d", id, n.Weight)
		}
	}
	// Both get well again.
	w.nodes = fast(10)
	w.seconds(30, 20)
	for id, n := range w.view() {
		if n.Ejected || n.Weight != 100 {
			t.Errorf("%s is well again: %v", id, n)
		}
	}
}

// TestDerivedHolds draws worlds and checks what holds in all of them.
func TestDerivedHolds(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		nodes := fast(1 + r.IntN(12))
		for i := range nodes {
			switch r.IntN(4) {
			case 0:
				nodes[i].failing = r.Float64()
			case 1:
				nodes[i].latency *= 1 + 20*r.Float64()
			}
		}
		w := newWorld(t, 1+r.IntN(5), nodes...)
		for range 12 {
			w.seconds(1, 1+r.IntN(30))
			if r.IntN(6) == 0 { // some leave
				w.nodes = w.nodes[:1+r.IntN(len(w.nodes))]
				w.known["stock"] = stock(len(w.nodes))
				w.Tick(w.now)
			}
			ejected, total := 0, 0
			for id, n := range w.view() {
				total++
				if n.Ejected {
					ejected++
				}
				if n.Weight < 1 || n.Weight > 100 || n.Ejected != (n.EjectedMs > 0) || n.Ejected != (n.Reason != "") {
					t.Fatalf("seed %d: %s: %v", seed, id, n)
				}
			}
			if 2*ejected > total || total != len(w.nodes) {
				t.Fatalf("seed %d: %d of %d nodes are ejected, %d known", seed, ejected, total, len(w.nodes))
			}
			if w.callers < 3 && ejected > 0 {
				t.Fatalf("seed %d: %d callers ejected", seed, w.callers)
			}
		}
	}
}

func TestHalfOfTheNodesStay(t *testing.T) {
	nodes := fast(10)
	for i := range 7 {
		nodes[i].failing = 1
	}
	nodes[9].failing = 0.02
	w := newWorld(t, 4, nodes...)
	consecutive := func(s *pb.Stats) {
		for _, sel := range s.Selected {
			if sel.Success.Count == 0 {
				sel.Consecutive = 50
			}
		}
	}
	for range 3 {
		for i := range 4 {
			w.report(i, 20, consecutive)
		}
		w.now = w.now.Add(time.Second)
		w.Tick(w.now)
	}
	// Seven of ten fail all calls: to everybody the typical node fails, so
	// nothing tells one from the other.
	if got := w.ejected(); len(got) != 0 {
		t.Errorf("when most fail: ejected %v", got)
	}
	w = newWorld(t, 4, append(fast(5), behaviour{5, 1}, behaviour{5, 1}, behaviour{5, 1}, behaviour{5, 1}, behaviour{5, 0.9})...)
	w.seconds(3, 20)
	if got := w.ejected(); len(got) != 5 {
		t.Errorf("half of them fail: ejected %v", got)
	}
	w.known["stock"] = &regcache.Snapshot{Name: "stock", Services: []*registry.Service{{
		Name: "stock", Version: "1", Nodes: stock(10).Services[0].Nodes[4:],
	}}}
	w.Tick(w.now)
	if got := len(w.ejected()); got != 3 {
		t.Errorf("one good node of six is left: %d are out, want 3", got)
	}
}

func TestEjectionsGrowAndAreJittered(t *testing.T) {
	lengths := map[int64]bool{}
	for range 20 {
		w := newWorld(t, 3, append(fast(9), behaviour{5, 1})...)
		w.seconds(1, 20)
		first := w.view()[nodeID(9)].EjectedMs
		if first < 9_000 || first > 12_500 {
			t.Fatalf("first ejection: %d ms are left", first)
		}
		lengths[first/250] = true
		for len(w.ejected()) > 0 {
			w.seconds(1, 20)
		}
		if n := w.view()[nodeID(9)]; n.Weight > 40 {
			t.Fatalf("after its return: %v", n)
		}
		for len(w.ejected()) == 0 {
			w.seconds(1, 20)
		}
		if second := w.view()[nodeID(9)].EjectedMs; second < 19_000 || second > 25_000 {
			t.Fatalf("second ejection: %d ms are left", second)
		}
	}
	if len(lengths) < 3 {
		t.Errorf("ejections return in step: %v", lengths)
	}
}

// lie says that all calls to the rival failed and all others were fast.
func lie(s *pb.Stats) {
	for i, sel := range s.Selected {
		sel.Success, sel.Errors = &pb.Metrics{Count: 1e6, Mean: 0.1}, nil
		if i == 0 {
			sel.Success, sel.Errors, sel.Consecutive = nil, &pb.Metrics{Count: 1e6}, 1e6
		}
	}
}

func TestFakeStatsEjectNobody(t *testing.T) {
	for name, attack := range map[string]func(w *world){
		"one liar among three": func(w *world) { w.report(9, 20, lie) },
		"many names on one machine": func(w *world) {
			s := &pb.Stats{Service: &pb.Service{Name: "stock"}, DurationMs: 1000}
			for i := range 10 {
				s.Selected = append(s.Selected, &pb.Selected{Node: &pb.Node{Id: nodeID(i)}})
			}
			lie(s)
			for i := range 20 {
				w.send(100+i, "10.6.6.6", s)
			}
		},
		"the topic": func(w *world) {
			for i := range 20 {
				s := &pb.Stats{Service: &pb.Service{Name: "stock"}, Duration: 1, Client: &pb.Service{
					Name: "evil", Nodes: []*pb.Node{{Id: fmt.Sprint("evil-", i)}},
				}}
				for n := range 10 {
					s.Selected = append(s.Selected, &pb.Selected{Node: &pb.Node{Id: nodeID(n)}})
				}
				lie(s)
				if err := w.Topic(s); err != nil {
					w.t.Fatal(err)
				}
			}
		},
		"a report in another's name": func(w *world) {
			for i := range 3 {
				w.seq++
				s := &pb.Stats{Service: &pb.Service{Name: "stock"}, Selected: []*pb.Selected{
					{Node: &pb.Node{Id: nodeID(0)}}, {Node: &pb.Node{Id: nodeID(1)}},
				}}
				lie(s)
				r := &pb.ReportRequest{Caller: caller(i), Incarnation: "b", Seq: w.seq, IntervalMs: 1000, Stats: []*pb.Stats{s}}
				if err := w.Report(r, "10.6.6.6", w.now); err == nil {
					w.t.Error("took a report in another's name")
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 3, fast(10)...)
			w.seconds(2, 20)
			for range 15 {
				attack(w)
				w.seconds(1, 20)
				if got := w.ejected(); len(got) != 0 {
					t.Fatalf("ejected %v", got)
				}
			}
			if n := w.view()[nodeID(0)]; n.Weight < 50 {
				t.Errorf("the rival's weight: %d", n.Weight)
			}
		})
	}
	// The same liar is believed when most others say so too.
	w := newWorld(t, 3, append([]behaviour{{5, 1}}, fast(9)...)...)
	w.report(9, 20, lie)
	w.seconds(2, 20)
	if len(w.ejected()) != 1 {
		t.Error("a node that fails is not ejected: the test shows nothing")
	}
}

func TestFewCallersMoveWeightsLittle(t *testing.T) {
	nodes := fast(5)
	nodes[0].latency = 100
	w := newWorld(t, 2, nodes...)
	w.seconds(10, 20)
	if n := w.view()[nodeID(0)]; n.Weight != 50 {
		t.Errorf("two callers: weight %d, want 50", n.Weight)
	}
}

func TestZonesAreComparedWithinThemselves(t *testing.T) {
	nodes := append(fast(3), behaviour{50, 0}, behaviour{52, 0}, behaviour{500, 0})
	w := newWorld(t, 3, nodes...)
	for i, n := range w.known["stock"].Services[0].Nodes {
		n.Metadata = map[string]string{"zone": []string{"near", "far"}[i/3]}
	}
	w.known["stock"] = &regcache.Snapshot{Services: w.known["stock"].Services}
	w.seconds(10, 20)
	v := w.view()
	if v[nodeID(3)].Weight != 100 || v[nodeID(4)].Weight != 100 || v[nodeID(5)].Weight > 20 {
		t.Errorf("weights: %v", v)
	}
}

func TestStatsAreSummedAndLeave(t *testing.T) {
	w := newWorld(t, 2, fast(2)...)
	endpoint := func(s *pb.Stats) {
		s.Limited = 3
		s.EndpointStats = []*pb.EndpointStats{{Name: "Stock.Read", Success: &pb.Metrics{Count: 4, Mean: 2}}}
		s.Selected[0].Success = &pb.Metrics{Count: 2, Mean: 4, StdDev: 1}
		s.Selected[0].Dropped = &pb.Metrics{Count: 1, Mean: 100}
		s.Selected = append(s.Selected, &pb.Selected{Node: &pb.Node{Id: "unheard-of"}, Success: &pb.Metrics{Count: 9}})
	}
	w.report(0, 5, endpoint)
	w.report(1, 5, endpoint, func(s *pb.Stats) { s.Selected[0].Success.Mean = 8 })
	total := w.Stats(&pb.StatsRequest{}, w.now)
	if len(total) != 1 || total[0].Limited != 6 || total[0].EndpointStats[0].Success.Count != 8 || len(total[0].Selected) != 2 {
		t.Fatalf("sum: %v", total)
	}
	m := total[0].Selected[0].Success // 2 × 4±1, 2 × 8±1
	if m.Count != 4 || math.Abs(m.Mean-6) > 1e-9 || math.Abs(m.StdDev-math.Sqrt(5)) > 1e-9 || total[0].Selected[0].Dropped.Count != 2 {
		t.Errorf("merged: %v", m)
	}
	each := w.Stats(&pb.StatsRequest{ByClient: true}, w.now)
	one := w.Stats(&pb.StatsRequest{Client: "shop-1"}, w.now)
	if len(each) != 2 || len(one) != 1 || one[0].Client.Nodes[0].Id != "shop-1" || one[0].Selected[0].Success.Mean != 8 {
		t.Errorf("by caller: %v\n%v", each, one)
	}
	// A report sent twice counts once.
	w.seq--
	w.report(1, 5, endpoint)
	if again := w.Stats(&pb.StatsRequest{}, w.now); again[0].Limited != 6 {
		t.Errorf("counted twice: %v", again[0].Limited)
	}
	w.now = w.now.Add(11 * time.Second)
	w.Tick(w.now)
	if old := w.Stats(&pb.StatsRequest{}, w.now); len(old) != 0 {
		t.Errorf("after the window: %v", old)
	}
	w.now = w.now.Add(11 * time.Minute)
	w.Tick(w.now)
	if tables, callers := w.Known(); tables+callers != 0 {
		t.Errorf("%d services and %d callers are kept for ever", tables, callers)
	}
}

func TestDrainingNodesAreShownAndNotCounted(t *testing.T) {
	w := newWorld(t, 4, append(fast(3), behaviour{5, 1})...)
	for i := range 2 {
		n := w.known["stock"].Services[0].Nodes[i]
		*n = *regcache.Drain(n)
	}
	w.seconds(2, 20)
	// Two of the four are usable: one may go.
	if got := fmt.Sprint(w.ejected()); got != "["+nodeID(3)+"]" || w.view()[nodeID(0)].Metadata["status"] != "DRAINING" {
		t.Errorf("ejected %v of %v", got, w.view())
	}
	last := w.known["stock"].Services[0].Nodes[2]
	services := stock(4).Services
	copy(services[0].Nodes, w.known["stock"].Services[0].Nodes)
	services[0].Nodes[2] = regcache.Drain(last)
	w.known["stock"] = &regcache.Snapshot{Services: services}
	w.Tick(w.now)
	if got := w.ejected(); len(got) != 0 {
		t.Errorf("the last node that does not drain is ejected: %v", got)
	}
}

func TestMergedPercentiles(t *testing.T) {
	sample := func(from, to int) *pb.Metrics {
		m := &pb.Metrics{Buckets: make([]uint32, 128)}
		for ms := from; ms < to; ms++ {
			m.Buckets[routersrv.Bucket(float64(ms))]++
			m.Mean += float64(ms)
			m.Count++
		}
		m.Mean /= float64(m.Count)
		m.Max = float64(to - 1)
		return m
	}
	m := routersrv.Merge(sample(0, 500), sample(500, 1000))
	for name, c := range map[string][2]float64{"p50": {m.P50, 500}, "p95": {m.Upper95, 950}, "p99": {m.P99, 990}} {
		if math.Abs(c[0]-c[1]) > 0.13*c[1] {
			t.Errorf("%s: %v, want %v within 13 %%", name, c[0], c[1])
		}
	}
	if m.Count != 1000 || m.Max != 999 {
		t.Errorf("sum: %v", m)
	}
	if bare := routersrv.Merge(&pb.Metrics{Count: 10, Mean: 7, Max: 9}); bare.P50 < 6 || bare.P50 > 8 {
		t.Errorf("without buckets: %v", bare)
	}
	for _, ms := range []float64{0, 0.001, 0.0039, 0.004, 0.5, 1, 77, 1e4, 1e6} {
		if low, high := routersrv.Bounds(routersrv.Bucket(ms)); ms < low || ms >= high {
			t.Errorf("%v ms is in the bucket %v..%v", ms, low, high)
		}
	}
}
