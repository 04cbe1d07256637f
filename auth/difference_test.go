package auth_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/authtest"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/rpctest"
)

// A stream that begins again, also after a restart, asks for what changed since,
// and after a difference that makes no sense for everything.
func TestRulesComeAsDifferences(t *testing.T) {
	w := newWorld(t).up()
	allow := func(id, account string) *pb.Rule {
		return &pb.Rule{Id: id, Effect: "allow", Accounts: []string{account}, Services: []string{"shop.orders"}}
	}
	asked := make(chan string, 100)
	w.srv.resume = func(req *pb.WatchRequest) *pb.WatchResponse {
		if !req.Differences {
			t.Error("all rules are wanted each time")
		}
		asked <- req.Known
		first := &pb.WatchResponse{Issuer: authtest.IssuerName, Jwks: w.issuer.Keys(), Position: "1"}
		switch req.Known {
		case "2", "3":
			first.Changes, first.Position = &pb.RuleChanges{Put: []*pb.Rule{allow("c", "c")}, Remove: []string{"b"}, Closed: true}, "3"
		default:
			first.Reset_, first.Rules = true, &pb.Rules{Rules: []*pb.Rule{allow("a", "a")}, Services: []string{"shop.orders"}, Closed: true}
		}
		return first
	}
	file := filepath.Join(t.TempDir(), "snapshot")
	a := w.started(auth.SnapshotFile(file))
	tokens := map[string]string{}
	for _, account := range []string{"a", "b", "c", "d"} {
		tokens[account] = w.issuer.Token(account, nil)
	}
	decides := func(a auth.Auth, who string, may bool) {
		t.Helper()
		rpctest.Eventually(t, who+" may or may not", func() bool {
			_, err := authorize(a, tokens[who])
			return may && err == nil || !may && errors.Is(err, auth.ErrForbidden)
		})
	}
	decides(a, "a", true)
	decides(a, "b", false)
	w.srv.tell(&pb.WatchResponse{Position: "2", Changes: &pb.RuleChanges{Put: []*pb.Rule{allow("b", "b")}, Remove: []string{"a", "x"}, Closed: true}})
	decides(a, "b", true)
	decides(a, "a", false)
	w.stop()
	w.up()
	decides(a, "c", true)
	decides(a, "b", false)
	w.srv.tell(&pb.WatchResponse{Position: "9", Changes: &pb.RuleChanges{Put: []*pb.Rule{{Id: "bad"}}}})
	decides(a, "a", true)
	decides(a, "c", false)
	w.srv.tell(&pb.WatchResponse{Position: "3", Changes: &pb.RuleChanges{Put: []*pb.Rule{allow("d", "d")}, Closed: true}})
	decides(a, "d", true)
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	again := w.started(auth.SnapshotFile(file))
	decides(again, "c", true)
	decides(again, "a", true)
	for _, want := range []string{"", "2", "", "3"} {
		if got := <-asked; got != want {
			t.Errorf("asked for what changed since %q, want %q", got, want)
		}
	}
}
