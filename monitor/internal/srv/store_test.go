package srv_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/internal/sqlstore"
	monitorsrv "github.com/micro/go-platform/monitor/internal/srv"
	pb "github.com/micro/go-platform/monitor/proto"
)

func TestMain(m *testing.M) { rpctest.Main(backend.StopAfter(m)) }

func open(t *testing.T, rawURL string) monitorsrv.Store {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), rawURL, sqlstore.Schema{Service: "monitor", Migrations: monitorsrv.Migrations})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return monitorsrv.NewSQLStore(db)
}

func TestStore(t *testing.T) {
	rpctest.Databases(t, func(t *testing.T, empty func(testing.TB) string) {
		testStore(t, func(t *testing.T) monitorsrv.Store { return open(t, empty(t)) })
	})
}

// service is one with a node.
func service(name, id string) *pb.Service {
	return &pb.Service{Name: name, Version: "1", Nodes: []*pb.Node{{Id: name + "-" + id, Address: "10.0.0.1", Port: 80}}}
}

func became(service, node, check, from, to string, at int64) *pb.Transition {
	return &pb.Transition{TimestampMs: at, Service: service, Node: service + "-" + node, Check: check, From: from, To: to, Detail: "é'\"%_\x00"}
}

func testStore(t *testing.T, newStore func(*testing.T) monitorsrv.Store) {
	t.Run("History", func(t *testing.T) { testHistory(t, newStore(t)) })
	t.Run("Nodes", func(t *testing.T) { testNodes(t, newStore(t)) })
	t.Run("AllOrNone", func(t *testing.T) { testAllOrNone(t, newStore(t)) })
}

func testHistory(t *testing.T, s monitorsrv.Store) {
	ctx := t.Context()
	var changes []monitorsrv.Change
	for i, tr := range []*pb.Transition{
		became("a", "1", "", "UNKNOWN", "RUNNING", 1000),
		became("a", "1", "db", "UNKNOWN", "OK", 1000),
		became("a", "2", "", "UNKNOWN", "RUNNING", 2000),
		became("b", "1", "", "UNKNOWN", "RUNNING", 3000),
		became("a", "1", "db", "OK", "ERROR", 4000),
		became("A", "1", "", "UNKNOWN", "RUNNING", 5000),
	} {
		if i == 0 {
			changes = append(changes, monitorsrv.NewChange(tr, service("a", "1")))
			continue
		}
		changes = append(changes, monitorsrv.NewChange(tr, nil))
	}
	if err := s.Append(ctx, changes); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		q    *pb.HistoryRequest
		want []int64 // by time, in order
	}{
		"all":       {&pb.HistoryRequest{}, []int64{1000, 1000, 2000, 3000, 4000, 5000}},
		"service":   {&pb.HistoryRequest{Service: "a"}, []int64{1000, 1000, 2000, 4000}},
		"node":      {&pb.HistoryRequest{Node: "a-2"}, []int64{2000}},
		"check":     {&pb.HistoryRequest{Check: "db"}, []int64{1000, 4000}},
		"to":        {&pb.HistoryRequest{To: "ERROR"}, []int64{4000}},
		"time":      {&pb.HistoryRequest{FromMs: 2000, ToMs: 4000}, []int64{2000, 3000}},
		"reverse":   {&pb.HistoryRequest{Reverse: true, Limit: 2}, []int64{5000, 4000}},
		"page":      {&pb.HistoryRequest{Limit: 2, Offset: 1}, []int64{1000, 2000}},
		"wildcard":  {&pb.HistoryRequest{Service: "%"}, nil},
		"injection": {&pb.HistoryRequest{Service: "' OR 1=1 --"}, nil},
	} {
		if c.q.Limit == 0 {
			c.q.Limit = 100
		}
		got, err := s.History(ctx, c.q)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var at []int64
		for _, tr := range got {
			at = append(at, tr.TimestampMs)
		}
		if fmt.Sprint(at) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", name, at, c.want)
		}
	}
	got, err := s.History(ctx, &pb.HistoryRequest{Limit: 2})
	if err != nil || got[1].Detail != "é'\"%_\x00" || got[1].From != "UNKNOWN" || got[1].Check != "db" || got[0].Id >= got[1].Id {
		t.Errorf("entries: %v, %v", got, err)
	}
	if err := s.Prune(ctx, time.UnixMilli(4000)); err != nil {
		t.Fatal(err)
	}
	if left, _ := s.History(ctx, &pb.HistoryRequest{Limit: 100}); len(left) != 2 { // an error shows below
		t.Errorf("%d entries after Prune, want 2", len(left))
	}
}

func testNodes(t *testing.T, s monitorsrv.Store) {
	ctx := t.Context()
	for i, c := range []struct {
		id, status string
		at         int64
	}{
		{"1", "STARTED", 1000}, {"1", "RUNNING", 1100}, {"2", "STOPPED", 1000}, {"3", "UNKNOWN", 9000}, {"4", "DRAINING", 9000},
	} {
		change := monitorsrv.NewChange(became("a", c.id, "", "UNKNOWN", c.status, c.at), service("a", c.id))
		if err := s.Append(ctx, []monitorsrv.Change{change}); err != nil {
			t.Fatal(i, err)
		}
	}
	known := func() string {
		all, err := s.Nodes(ctx, time.UnixMilli(5000))
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]string{}
		for _, n := range all {
			found[n.Service.Nodes[0].Id] = n.Status.String()
			if n.Service.Name != "a" || n.Service.Version != "1" || n.Service.Nodes[0].Port != 80 {
				t.Errorf("node: %v", n)
			}
		}
		return fmt.Sprint(found)
	}
	want := "map[a-1:RUNNING a-3:UNKNOWN a-4:DRAINING]"
	if got := known(); got != want {
		t.Errorf("nodes: %s, want %s", got, want)
	}
	if err := s.Prune(ctx, time.UnixMilli(5000)); err != nil {
		t.Fatal(err)
	}
	if got := known(); got != want {
		t.Errorf("after Prune: %s, want %s", got, want)
	}
}

func testAllOrNone(t *testing.T, s monitorsrv.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	change := monitorsrv.NewChange(became("a", "1", "", "UNKNOWN", "RUNNING", 1), service("a", "1"))
	if err := s.Append(ctx, []monitorsrv.Change{change}); err == nil {
		t.Error("append with an ended context: no error")
	}
	if left, err := s.History(t.Context(), &pb.HistoryRequest{Limit: 10}); err != nil || len(left) != 0 {
		t.Errorf("history: %v, %v", left, err)
	}
}
