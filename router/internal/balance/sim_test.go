package balance_test

import (
	"container/heap"
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

// The simulation: callers that arrive at random (Poisson) call ten nodes. Node
// 0 is ten times slower than the others, node 1 fails half of its calls, node 2
// is gone for two of every eight seconds. Nodes work on a bounded number of
// calls at a time, the rest waits. Clock and chance are its own: a seed gives
// the same figures everywhere.
type sim struct {
	*rand.Rand
	now    int64
	events events
	pool   *balance.Pool
	nodes  []*simNode
	plain  func() int // strategy of go-micro instead of the pool

	latencies []time.Duration
	errors    int
	calls     int
	picks     []int
	slowTail  int // picks of node 0 after two seconds
	tail      int
}

type simNode struct {
	mean  time.Duration
	fails float64
	away  func(now time.Duration) bool
	free  []int64 // when each worker is free
}

type event struct {
	at int64
	do func()
}

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at < e[j].at }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

func (s *sim) after(d time.Duration, do func()) {
	heap.Push(&s.events, event{s.now + int64(d), do})
}

func newSim(seed uint64) *sim {
	s := &sim{Rand: rand.New(rand.NewPCG(seed, 1)), now: 2, picks: make([]int, 10)}
	for range 10 {
		s.nodes = append(s.nodes, &simNode{mean: 5 * time.Millisecond, away: func(time.Duration) bool { return false }, free: make([]int64, 16)})
	}
	s.nodes[0].mean *= 10
	s.nodes[1].fails = 0.5
	s.nodes[2].away = func(now time.Duration) bool { return now%(8*time.Second) >= 6*time.Second }
	return s
}

// usePool balances by a pool that is told of every outcome.
func (s *sim) usePool(strategy balance.Strategy) {
	conf := &balance.Config{Strategy: strategy, Rand: s.Uint64, Now: func() int64 { return s.now }}
	conf.Fill()
	s.pool = balance.New(conf)
	s.pool.Update(candidates(10), nil)
	var tick func()
	tick = func() {
		s.pool.Tick()
		for _, n := range s.pool.Lost() { // what the router's dialling does
			if i := index(n); !s.nodes[i].away(time.Duration(s.now)) {
				s.pool.Found(n.Id)
			}
		}
		s.after(100*time.Millisecond, tick)
	}
	tick()
}

func candidates(n int) (all []balance.Candidate) {
	owner := &registry.Service{Name: "sim", Version: "v1"}
	for i := range n {
		all = append(all, balance.Candidate{Owner: owner, Node: &registry.Node{Id: fmt.Sprintf("n%03d", i), Address: fmt.Sprintf("10.0.0.%d:80", i)}})
	}
	return all
}

func index(n *registry.Node) (i int) {
	_, _ = fmt.Sscanf(n.Id, "n%d", &i) // they are named so
	return i
}

// run lets calls arrive at so many per second.
func (s *sim) run(d time.Duration, perSecond float64) {
	var arrive func()
	arrive = func() {
		s.call()
		s.after(time.Duration(s.ExpFloat64()/perSecond*float64(time.Second)), arrive)
	}
	s.after(0, arrive)
	for end := s.now + int64(d); s.events[0].at < end; {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		e.do()
	}
}

func (s *sim) call() {
	var m *balance.Member
	i := 0
	if s.pool != nil {
		var err error
		if m, err = s.pool.Pick(nil, nil); err != nil {
			panic(err)
		}
		s.pool.Begin(m, false)
		i = index(m.Node)
	} else {
		i = s.plain()
	}
	s.calls++
	s.picks[i]++
	if s.now > int64(2*time.Second) {
		s.tail++
		if i == 0 {
			s.slowTail++
		}
	}
	took, outcome := s.nodes[i].serve(s)
	begun := s.now
	s.after(took, func() {
		d := time.Duration(s.now - begun)
		if outcome == balance.OK {
			s.latencies = append(s.latencies, d)
		} else {
			s.errors++
		}
		if m != nil {
			s.pool.Done(m, outcome, d, s.now)
			s.pool.End(m, outcome, false)
		}
	})
}

func (n *simNode) serve(s *sim) (time.Duration, balance.Outcome) {
	if n.away(time.Duration(s.now)) {
		return 200 * time.Microsecond, balance.Unreached
	}
	if s.Float64() < n.fails {
		return 300 * time.Microsecond, balance.Failed
	}
	worker := 0
	for i, at := range n.free {
		if at < n.free[worker] {
			worker = i
		}
	}
	begin := max(n.free[worker], s.now)
	end := begin + int64(s.ExpFloat64()*float64(n.mean))
	n.free[worker] = end
	return time.Duration(end - s.now), balance.OK
}

func (s *sim) percentile(p float64) time.Duration {
	slices.Sort(s.latencies)
	return s.latencies[int(math.Ceil(p*float64(len(s.latencies))))-1]
}

func (s *sim) errorRate() float64 { return float64(s.errors) / float64(s.calls) }

// share of node i relative to a tenth of the calls.
func (s *sim) share(i int) float64 { return float64(s.picks[i]) / float64(s.calls) * 10 }

func TestSimulation(t *testing.T) {
	const perSecond, length = 2500, 40 * time.Second
	results := make(map[string]*sim)
	var table strings.Builder
	fmt.Fprintf(&table, "%-28s %8s %8s %8s %8s %7s %7s %7s\n", "strategy", "errors", "p50", "p95", "p99", "slow", "failing", "gone")
	row := func(name string, s *sim) {
		s.run(length, perSecond)
		results[name] = s
		fmt.Fprintf(&table, "%-28s %7.2f%% %8v %8v %8v %6.1f%% %6.1f%% %6.1f%%\n", name, s.errorRate()*100,
			s.percentile(0.5).Round(100*time.Microsecond), s.percentile(0.95).Round(100*time.Microsecond), s.percentile(0.99).Round(100*time.Microsecond),
			s.share(0)*100, s.share(1)*100, s.share(2)*100)
	}
	plain := newSim(1)
	plain.plain = func() int { return plain.calls % 10 }
	row("go-micro round robin", plain)
	chance := newSim(1)
	chance.plain = func() int { return chance.IntN(10) }
	row("go-micro random", chance)
	for _, strategy := range []balance.Strategy{balance.RoundRobin, balance.Random, balance.LeastConnections, balance.PeakEWMA} {
		s := newSim(1)
		s.usePool(strategy)
		row("router "+string(strategy), s)
	}
	t.Log("\n" + table.String())

	ours := results["router "+string(balance.PeakEWMA)]
	if share := float64(ours.slowTail) / float64(ours.tail) * 10; share >= 0.15 {
		t.Errorf("the slow node has %.0f %% of its fair share after two seconds, want less than 15", share*100)
	}
	for _, name := range []string{"go-micro round robin", "go-micro random"} {
		theirs := results[name]
		if ours.errorRate() > theirs.errorRate()/10 {
			t.Errorf("error rate %.3f, more than a tenth of the %.3f of %s", ours.errorRate(), theirs.errorRate(), name)
		}
		if ours.percentile(0.99) > theirs.percentile(0.99)/4 {
			t.Errorf("p99 %v, more than a quarter of the %v of %s", ours.percentile(0.99), theirs.percentile(0.99), name)
		}
	}
	again := newSim(1)
	again.usePool(balance.PeakEWMA)
	again.run(length, perSecond)
	if !slices.Equal(again.picks, ours.picks) || again.errors != ours.errors {
		t.Errorf("the same seed gave %v and %v", ours.picks, again.picks)
	}
}
