package srv_test

import (
	"fmt"
	"testing"
	"time"

	pb "github.com/micro/go-platform/router/proto"
)

// BenchmarkReport takes reports of a hundred callers about ten nodes, each with
// buckets, as a plugin sends them.
func BenchmarkReport(b *testing.B) {
	w := newWorld(b, 0, fast(10)...)
	reports := make([]*pb.ReportRequest, 100)
	for i := range reports {
		s := &pb.Stats{Service: &pb.Service{Name: "stock"}, DurationMs: 1000}
		for n := range 10 {
			m := &pb.Metrics{Count: 40, Mean: 5, StdDev: 1, Max: 20, Buckets: make([]uint32, 60)}
			m.Buckets[50], m.Buckets[55] = 30, 10
			s.Selected = append(s.Selected, &pb.Selected{Node: &pb.Node{Id: nodeID(n)}, Success: m})
		}
		reports[i] = &pb.ReportRequest{Caller: caller(i), Incarnation: "a", IntervalMs: 1000, Stats: []*pb.Stats{s}}
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		r := reports[n%100]
		n++
		r.Seq++
		if err := w.Report(r, "10.0.0.1", w.now); err != nil {
			b.Fatal(err)
		}
		if n%1000 == 0 {
			w.now = w.now.Add(time.Second)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reports/s")
}

// BenchmarkTick derives weights, ejections and shares of one service.
func BenchmarkTick(b *testing.B) {
	for _, c := range [][2]int{{10, 100}, {100, 100}} {
		b.Run(fmt.Sprintf("nodes=%d/callers=%d", c[0], c[1]), func(b *testing.B) {
			w := newWorld(b, c[1], fast(c[0])...)
			w.SetLimit(&pb.LimitSet{Service: "stock", RequestsPerSecond: 1000})
			w.seconds(2, 20)
			b.ReportAllocs()
			for b.Loop() {
				w.JudgeAgain()
				w.Tick(w.now)
			}
		})
	}
}
