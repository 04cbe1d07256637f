package srv_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/config"
	configsrv "github.com/micro/go-platform/config/internal/srv"
	pb "github.com/micro/go-platform/config/proto"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestWatch(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	next := func(s pb.Config_WatchService) (*pb.WatchResponse, string) {
		t.Helper()
		for {
			rsp, err := s.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if rsp.ChangeSet != nil {
				return rsp, rsp.ChangeSet.Data
			}
		}
	}
	s, err := w.Watch(ctx, &pb.WatchRequest{Id: "prod:shop", Alive: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() // the test is over
	if rsp, err := s.Recv(); err != nil || rsp.ChangeSet != nil {
		t.Fatalf("of nothing: %v, %v", rsp, err)
	}
	w.create("other:config", `{}`) // of no concern
	w.create("prod:shop", `{"a":1}`)
	rsp, data := next(s)
	expect(t, "create", data, `{"a":1}`)
	w.create("default:CONFIG", `{"d":1}`)
	_, data = next(s)
	expect(t, "what is inherited", data, `{"a":1,"d":1}`)
	w.update("default:CONFIG", "", `{"a":2,"d":1}`) // hidden by the app's own
	w.update("prod:shop", "b", `2`)
	last, data := next(s)
	expect(t, "update", data, `{"a":1,"b":2,"d":1}`)
	for name, c := range map[string]struct {
		req  *pb.WatchRequest
		want string
	}{
		"resume from what is":       {&pb.WatchRequest{Revision: last.Revision, Checksum: last.ChangeSet.Checksum}, ""},
		"resume by revision alone":  {&pb.WatchRequest{Revision: last.Revision}, ""},
		"resume from before":        {&pb.WatchRequest{Revision: rsp.Revision, Checksum: rsp.ChangeSet.Checksum}, data},
		"before, by revision alone": {&pb.WatchRequest{Revision: rsp.Revision}, data},
		"a revision yet to come":    {&pb.WatchRequest{Revision: 1 << 40}, data}, // the server lost its data
		"another database":          {&pb.WatchRequest{Revision: last.Revision, Checksum: "other"}, data},
	} {
		c.req.Id, c.req.Alive = "prod:shop", true
		r, err := w.Watch(ctx, c.req)
		if err != nil {
			t.Fatal(err)
		}
		first, err := r.Recv()
		if err != nil || first.ChangeSet.GetData() != c.want || first.Revision != last.Revision {
			t.Errorf("%s: %v, %v", name, first, err)
		}
		_ = r.Close() // it was only read
	}
	if rsp, err := s.Recv(); err != nil || rsp.ChangeSet != nil || rsp.Revision != last.Revision {
		t.Errorf("sign of life: %v, %v", rsp, err)
	}
	if _, err := w.Rollback(within(t), &pb.RollbackRequest{Id: "prod:shop", Revision: rsp.Revision}); err != nil {
		t.Fatal(err)
	}
	if _, data = next(s); data != `{"a":1,"d":1}` {
		t.Errorf("rollback: %s", data)
	}
	bad, err := w.Watch(ctx, &pb.WatchRequest{Id: "bad"})
	if err == nil {
		_, err = bad.Recv()
	}
	if err == nil || !strings.Contains(err.Error(), `"code":400`) {
		t.Errorf("bad id: %v", err)
	}
}

// TestServersOfOneDatabase: what one writes the others stream.
func TestServersOfOneDatabase(t *testing.T) {
	rpctest.SharedDatabases(t, func(t *testing.T, url string) {
		same := func(c *daemon.Config) { c.DatabaseURL = url }
		a, b := newWorld(t, same), newWorld(t, same) // two networks: no chance to reach the wrong one
		s, err := b.Watch(within(t), &pb.WatchRequest{Id: "a:b", Alive: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close() // the test is over
		if _, err := s.Recv(); err != nil {
			t.Fatal(err)
		}
		revision := a.create("a:b", `{"n":1}`)
		begun := time.Now()
		rsp, err := s.Recv()
		for ; err == nil && rsp.ChangeSet == nil; rsp, err = s.Recv() {
		}
		if err != nil || rsp.ChangeSet.Data != `{"n":1}` || rsp.Revision != revision {
			t.Fatalf("%v, %v", rsp, err)
		}
		t.Logf("seen after %v", time.Since(begun))
		if d := time.Since(begun); d > 5*time.Second {
			t.Errorf("seen after %v", d)
		}
		if _, err := b.Update(within(t), &pb.UpdateRequest{Change: change("a:b", "", `{"n":2}`), IfRevision: &revision}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Update(within(t), &pb.UpdateRequest{Change: change("a:b", "", `{"n":3}`), IfRevision: &revision}); call.Code(err) != 412 {
			t.Errorf("a write of what the other changed: %v", err)
		}
	})
}

func TestRestartKeepsAll(t *testing.T) {
	dir := t.TempDir()
	file := func(c *daemon.Config) { c.DatabaseURL = "sqlite://" + filepath.Join(dir, "c.db") }
	net := rpctest.New(t)
	srv := net.Boot(configsrv.Service(), file)
	w := &world{net, pb.NewConfigService(config.ServiceName, net.Client(rpctest.GRPC)), t}
	first := w.create("a:b", `{"n":1}`)
	if _, err := w.Update(within(t), &pb.UpdateRequest{Change: change("a:b", "n", `2`), Rollout: &pb.Rollout{Percent: 100}}); err != nil {
		t.Fatal(err)
	}
	if err := srv.Stop(); err != nil {
		t.Fatal(err)
	}
	net.Boot(configsrv.Service(), file)
	w.ConfigService = pb.NewConfigService(config.ServiceName, net.Client(rpctest.GRPC))
	expect(t, "own", w.own("a:b"), `{"n":1}`)
	expect(t, "the rollout", w.read(&pb.ReadRequest{Id: "a:b", Instance: "i"}), `{"n":2}`)
	expect(t, "history", w.read(&pb.ReadRequest{Id: "a:b", Own: true, Revision: first}), `{"n":1}`)
}
