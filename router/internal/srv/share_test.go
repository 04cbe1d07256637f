package srv_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	routersrv "github.com/micro/go-platform/router/internal/srv"
	pb "github.com/micro/go-platform/router/proto"
)

func TestDivide(t *testing.T) {
	for name, c := range map[string]struct{ wants, parts []float64 }{
		"nobody":     {nil, nil},
		"one":        {[]float64{0}, []float64{100}},
		"idle":       {[]float64{0, 0}, []float64{50, 50}},
		"alike":      {[]float64{500, 500}, []float64{50, 50}},
		"one greedy": {[]float64{1000, 8, 8}, []float64{80, 10, 10}},
		"one idle":   {[]float64{1000, 0}, []float64{90, 10}},
	} {
		got := routersrv.Divide(100, c.wants)
		for i := range c.parts {
			if math.Abs(got[i]-c.parts[i]) > 1e-9 {
				t.Errorf("%s: %v, want %v", name, got, c.parts)
				break
			}
		}
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		wants := make([]float64, 1+r.IntN(50))
		for i := range wants {
			wants[i] = math.Exp(20*r.Float64() - 10)
		}
		total, sum := 1+1000*r.Float64(), 0.0
		for _, p := range routersrv.Divide(total, wants) {
			if p < total*0.2/float64(len(wants))-1e-9 {
				t.Fatalf("%v is below the floor: %v of %v", p, wants, total)
			}
			sum += p
		}
		if math.Abs(sum-total) > 1e-6*total {
			t.Fatalf("the parts of %v add up to %v", total, sum)
		}
	}
}

// demand has a caller report what it wanted in the last second, of which its
// share let through a part.
func (w *world) demand(i int, wanted float64, share *pb.Share) {
	let := wanted
	if share != nil {
		let = min(wanted, share.RequestsPerSecond)
	}
	w.send(i, host(i), &pb.Stats{
		Service: &pb.Service{Name: "stock"}, DurationMs: 1000, Limited: int64(wanted) - int64(let),
		Selected: []*pb.Selected{{Node: &pb.Node{Id: nodeID(0)}, Success: &pb.Metrics{Count: int64(let), Mean: 100}}},
	})
}

func (w *world) shares(callers int) (shares []*pb.Share, sum float64) {
	w.t.Helper()
	for i := range callers {
		a, err := w.Answer("stock", caller(i), host(i), w.now)
		if err != nil {
			w.t.Fatal(err)
		}
		shares = append(shares, a.Share)
		sum += a.Share.GetRequestsPerSecond()
	}
	return shares, sum
}

func TestSharesConvergeToDemand(t *testing.T) {
	w := newWorld(t, 3, fast(2)...)
	w.SetLimit(&pb.LimitSet{Service: "stock", RequestsPerSecond: 100, Concurrency: 10})
	shares, _ := w.shares(3)
	for second := range 20 {
		for i, wanted := range []float64{400, 10, 10} {
			w.demand(i, wanted, shares[i])
		}
		w.now = w.now.Add(time.Second)
		w.Tick(w.now)
		sum := 0.0
		if shares, sum = w.shares(3); sum > 100+1e-6 {
			t.Fatalf("second %d: the shares add up to %v", second, sum)
		}
	}
	if shares[0].RequestsPerSecond < 70 || shares[1].RequestsPerSecond < 10 || shares[0].Callers != 3 || shares[0].Limit.RequestsPerSecond != 100 {
		t.Errorf("shares: %v", shares)
	}
	// 80 calls a second of 100 ms are eight at a time.
	if c := shares[0].Concurrency; c < 6 || c > 9 {
		t.Errorf("concurrency: %v", c)
	}
	// Two vanish: what they had is given to the one that is left.
	for range 13 {
		w.demand(0, 400, nil)
		w.now = w.now.Add(time.Second)
		w.Tick(w.now)
	}
	if left, _ := w.shares(1); left[0].RequestsPerSecond != 100 || left[0].Callers != 1 {
		t.Errorf("alone: %v", left)
	}
	before, _ := w.Answer("stock", caller(0), host(0), w.now) // an error shows below
	w.SetLimit(&pb.LimitSet{Service: "other", RequestsPerSecond: 1})
	w.Tick(w.now)
	after, _ := w.Answer("stock", caller(0), host(0), w.now) // an error shows below
	if after.Share != nil || after.Revision <= before.Revision {
		t.Errorf("the limit is gone: %v", after)
	}
}

func TestForgedCallersCannotTakeAName(t *testing.T) {
	w := newWorld(t, 1, fast(1)...)
	w.SetLimit(&pb.LimitSet{Service: "stock", RequestsPerSecond: 100})
	w.demand(0, 50, nil)
	if _, err := w.Answer("stock", caller(0), "10.6.6.6", w.now); err == nil {
		t.Error("another host asked in the name of a caller")
	}
	if a, err := w.Answer("stock", nil, "10.6.6.6", w.now); err != nil || a.Share != nil {
		t.Errorf("without a name: %v, %v", a, err)
	}
	s := &pb.Stats{Service: &pb.Service{Name: "stock"}, Duration: 1, Limited: 1e9, Client: &pb.Service{
		Name: "evil", Nodes: []*pb.Node{{Id: "evil-1"}},
	}}
	if err := w.Topic(s); err != nil {
		t.Fatal(err)
	}
	w.Tick(w.now)
	if shares, _ := w.shares(1); shares[0].Callers != 1 || shares[0].RequestsPerSecond != 100 {
		t.Errorf("the topic took a share: %v", shares)
	}
}
