package srv_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/rpcerr"
	pb "github.com/micro/go-platform/router/proto"
)

func TestWhatIsKeptIsBounded(t *testing.T) {
	w := newWorld(t, 1, fast(1)...)
	var err error
	for i := 0; err == nil && i < 10_000; i++ {
		_, err = w.Answer(fmt.Sprint("made-up-", i), nil, "", w.now)
	}
	if tables, _ := w.Known(); !errors.Is(err, rpcerr.ErrLimited) || tables > 5_000 {
		t.Errorf("services: %d, %v", tables, err)
	}
	w.now = w.now.Add(time.Minute)
	w.Tick(w.now)
	if tables, _ := w.Known(); tables != 0 {
		t.Errorf("%d services that nobody has are kept", tables)
	}
	w.report(0, 20)
	for i, err := 0, error(nil); err == nil && i < 30_000; i++ {
		s := &pb.Stats{Service: &pb.Service{Name: "stock"}, Client: &pb.Service{Name: "x", Nodes: []*pb.Node{{Id: fmt.Sprint("x-", i)}}}}
		err = w.Topic(s)
	}
	if _, callers := w.Known(); callers > 1_001 {
		t.Errorf("the topic made up %d callers", callers)
	}
	w.report(0, 20) // those who report by RPC go on
	for i := range 2_100 {
		if err = w.Report(&pb.ReportRequest{Caller: caller(i), Incarnation: "a", Seq: 99, IntervalMs: 1000, Stats: []*pb.Stats{
			{Service: &pb.Service{Name: "stock"}},
		}}, host(i), w.now); err != nil {
			break
		}
	}
	if !errors.Is(err, rpcerr.ErrLimited) {
		t.Errorf("callers of one service: %v", err)
	}
}

func TestARestartedCallerIsHeard(t *testing.T) {
	w := newWorld(t, 1, fast(2)...)
	send := func(incarnation string, seq uint64, host string) error {
		r := &pb.ReportRequest{Caller: caller(0), Incarnation: incarnation, Seq: seq, IntervalMs: 1000, Stats: []*pb.Stats{
			{Service: &pb.Service{Name: "stock"}, Limited: 1},
		}}
		return w.Report(r, host, w.now)
	}
	if err := errors.Join(send("a", 5, host(0)), send("b", 1, host(0))); err != nil {
		t.Fatal(err)
	}
	if s := w.Stats(&pb.StatsRequest{}, w.now); s[0].Limited != 2 {
		t.Errorf("after a restart: %v", s)
	}
	if err := send("c", 1, host(9)); !errors.Is(err, rpcerr.ErrExists) {
		t.Errorf("from another host: %v", err)
	}
	w.now = w.now.Add(4 * time.Second)
	if err := send("c", 1, host(9)); err != nil {
		t.Errorf("moved after a silence: %v", err)
	}
}

func TestEverythingAtOnce(t *testing.T) {
	w := newWorld(t, 1, append(fast(9), behaviour{5, 1})...)
	w.SetLimit(&pb.LimitSet{Service: "stock", RequestsPerSecond: 100})
	began := w.now
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 300 {
				now := began.Add(time.Duration(n) * 50 * time.Millisecond)
				s := &pb.Stats{Service: &pb.Service{Name: "stock"}, Selected: []*pb.Selected{
					{Node: &pb.Node{Id: nodeID(0)}, Success: &pb.Metrics{Count: 20, Mean: 1}},
					{Node: &pb.Node{Id: nodeID(9)}, Errors: &pb.Metrics{Count: 20}},
				}}
				r := &pb.ReportRequest{Caller: caller(i), Incarnation: "a", Seq: uint64(n + 1), IntervalMs: 1000, Stats: []*pb.Stats{s}}
				if err := w.Report(r, host(i), now); err != nil {
					t.Error(err)
				}
				if _, err := w.Answer([]string{"stock", "nobody"}[n%2], caller(i), host(i), now); err != nil {
					t.Error(err)
				}
				w.Tick(now)
				w.Stats(&pb.StatsRequest{ByClient: true}, now)
			}
		})
	}
	wg.Wait()
	// It still works.
	w.now, w.seq, w.callers = began.Add(20*time.Second), 1000, 8
	for range 30 {
		if w.seconds(1, 20); len(w.ejected()) > 0 {
			break
		}
	}
	if got := fmt.Sprint(w.ejected()); got != "["+nodeID(9)+"]" {
		t.Errorf("ejected: %v", got)
	}
}
