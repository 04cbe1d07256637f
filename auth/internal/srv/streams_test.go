package srv_test

import (
	"testing"
	"time"

	authsrv "github.com/micro/go-platform/auth/internal/srv"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/call"
)

// watchEnd begins a Policy.Watch and returns what it ends with.
func (e *env) watchEnd(token string, services ...string) <-chan error {
	e.Helper()
	s, err := e.policy.Watch(e.as(token), &pb.WatchRequest{Services: services}, e.here()...)
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { _ = s.Close() }) // the test is over
	if _, err := s.Recv(); err != nil {
		e.Fatal(err)
	}
	over := make(chan error, 1)
	go func() {
		for {
			if _, err := s.Recv(); err != nil {
				over <- err
				return
			}
		}
	}()
	return over
}

// A watcher is judged again while it watches.
func TestWatchersAreJudgedAgain(t *testing.T) {
	e := start(t)
	e.people()
	if _, err := e.policy.Create(e.admin(), &pb.PolicyCreateRequest{
		Rule: &pb.Rule{Id: "stock", Effect: "allow", Services: []string{"name:stock"}, Accounts: []string{"app"}},
	}, e.here()...); err != nil {
		t.Fatal(err)
	}
	revoked, deleted := e.token("ann", secretOf("ann")), e.token("orders", secretOf("orders"))
	over := map[string]<-chan error{
		"revoked": e.watchEnd(revoked), "deleted": e.watchEnd(deleted), "a rule": e.watchEnd(e.token("app", secretOf("app")), "stock"),
	}
	going := e.watchEnd(e.token(authsrv.AdminID, adminSecret))
	for _, c := range []struct {
		name string
		does func() error
		code int32
	}{
		{"revoked", func() error { _, err := e.oauth.Revoke(e.admin(), &pb.RevokeRequest{AccessToken: revoked}); return err }, 401},
		{"deleted", func() error { _, err := e.account.Delete(e.admin(), &pb.DeleteRequest{Id: "orders"}); return err }, 401},
		{"a rule", func() error { _, err := e.policy.Delete(e.admin(), &pb.PolicyDeleteRequest{Id: "stock"}); return err }, 403},
	} {
		if err := c.does(); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		select {
		case err := <-over[c.name]:
			if call.Code(err) != c.code {
				t.Errorf("%s: %v, want %d", c.name, err, c.code)
			}
			t.Logf("%s: %d after %v", c.name, c.code, time.Since(begun))
		case <-time.After(10 * time.Second):
			t.Errorf("%s: it goes on", c.name)
		}
	}
	select {
	case err := <-going:
		t.Errorf("another's ended: %v", err)
	default:
	}
}

// Attack: an account has a token exchanged before it is disabled, and acts on for
// somebody else.
func TestExchangedTokensEndWithWhoeverActs(t *testing.T) {
	e := start(t)
	e.people()
	e.create(&pb.Record{Id: "stock", Type: "service", ClientId: "stock-client", ClientSecret: secretOf("stock-client")})
	near, err := e.exchange("orders", e.tokenFor("ann", secretOf("ann"), "orders"), nil, "stock")
	if err != nil {
		t.Fatal(err)
	}
	far, err := e.exchange("stock-client", near.Token.AccessToken, nil, "billing")
	if err != nil {
		t.Fatal(err)
	}
	other, err := e.exchange("app", e.tokenFor("ann", secretOf("ann"), "app"), nil, "stock")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.account.Delete(e.admin(), &pb.DeleteRequest{Id: "orders"}); err != nil {
		t.Fatal(err)
	}
	if e.active(near.Token.AccessToken) || e.active(far.Token.AccessToken) {
		t.Error("a token outlives the account that acts, or one that passed it on")
	}
	disable := func(disabled bool) {
		t.Helper()
		if _, err := e.account.Update(e.admin(), &pb.UpdateRequest{Account: &pb.Record{Id: "app", Disabled: disabled}, Fields: []string{"disabled"}}); err != nil {
			t.Fatal(err)
		}
	}
	if !e.active(other.Token.AccessToken) {
		t.Error("a token ended with an account that has nothing to do with it")
	}
	disable(true)
	if e.active(other.Token.AccessToken) {
		t.Error("a token outlives the account that acts")
	}
	disable(false)
	other, err = e.exchange("app", e.tokenFor("ann", secretOf("ann"), "app"), nil, "stock")
	if err != nil || !e.active(other.Token.AccessToken) {
		t.Fatalf("a token that was exchanged afterwards: %v", err)
	}
}
