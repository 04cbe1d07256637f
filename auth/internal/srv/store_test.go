package srv_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"

	authsrv "github.com/micro/go-platform/auth/internal/srv"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
)

func on(url string) func(*authsrv.Config, *daemon.Config) {
	return func(_ *authsrv.Config, d *daemon.Config) { d.DatabaseURL = url }
}

func TestStore(t *testing.T) {
	rpctest.Databases(t, testStore)
	t.Run("memory", func(t *testing.T) {
		testStore(t, func(testing.TB) string { return "sqlite::memory:" })
	})
}

// testStore is what every database must pass, seen from outside.
func testStore(t *testing.T, url func(testing.TB) string) {
	for name, test := range map[string]func(*testing.T, *env){
		"Accounts":       accounts,
		"Policies":       policies,
		"CodeReplay":     codeReplay,
		"Redemption":     parallelRedemption,
		"Refreshes":      concurrentRefreshes,
		"RefreshReuse":   refreshReuse,
		"LessIsRevoked":  lessIsRevoked,
		"ConcurrentPuts": concurrentPuts,
	} {
		t.Run(name, func(t *testing.T) {
			test(t, start(t, on(url(t)), func(c *authsrv.Config, _ *daemon.Config) {
				if name == "RefreshReuse" {
					authsrv.Grace(c, 100*time.Millisecond)
				}
			}))
		})
	}
}

func accounts(t *testing.T, e *env) {
	e.people()
	made, err := e.account.Create(e.admin(), &pb.CreateRequest{Account: &pb.Record{Type: "service"}})
	if err != nil {
		t.Fatal(err)
	}
	if a := made.Account; a.Id == "" || a.ClientId != a.Id || len(a.ClientSecret) < 32 || a.Created == 0 {
		t.Errorf("created %v", a)
	}
	e.token(made.Account.Id, made.Account.ClientSecret)
	for _, r := range []*pb.Record{{Id: "ann", Type: "user"}, {Id: "other", ClientId: "ann", Type: "user"}} {
		if _, err := e.account.Create(e.admin(), &pb.CreateRequest{Account: r}); code(err) != 409 {
			t.Errorf("twice: %v", err)
		}
	}
	found, err := e.account.Search(e.admin(), &pb.SearchRequest{Type: "user"})
	if err != nil || len(found.Accounts) != 2 || found.Accounts[0].Id != "admin" || found.Accounts[1].Id != "ann" {
		t.Errorf("search: %v %v", found, err)
	}
	if found, err = e.account.Search(e.admin(), &pb.SearchRequest{ClientId: "app", Limit: 5}); err != nil || len(found.Accounts) != 1 {
		t.Errorf("search: %v %v", found, err)
	}
	got, err := e.account.Read(e.admin(), &pb.ReadRequest{Id: "app"})
	if err != nil || got.Account.ClientSecret != "" || !slices.Equal(got.Account.RedirectUris, []string{callback, "http://127.0.0.1:9/back"}) {
		t.Errorf("read: %v %v", got, err)
	}
	up, err := e.account.Update(e.admin(), &pb.UpdateRequest{
		Account: &pb.Record{Id: "app", Metadata: map[string]string{"a": "b"}, Scopes: []string{"ignored"}}, Fields: []string{"metadata"},
	})
	if err != nil || up.Account.Metadata["a"] != "b" || len(up.Account.Scopes) != 3 {
		t.Errorf("update: %v %v", up, err)
	}
	deleteAccount(t, e)
}

// deleteAccount deletes the account of app, and nothing is left of it.
func deleteAccount(t *testing.T, e *env) {
	t.Helper()
	if _, err := e.account.Delete(e.admin(), &pb.DeleteRequest{Id: "app"}); err != nil {
		t.Error(err)
	}
	for _, err := range []error{
		second(e.account.Read(e.admin(), &pb.ReadRequest{Id: "app"})),
		second(e.account.Delete(e.admin(), &pb.DeleteRequest{Id: "app"})),
		second(e.account.Update(e.admin(), &pb.UpdateRequest{Account: &pb.Record{Id: "app"}, Fields: []string{"metadata"}})),
	} {
		if code(err) != 404 {
			t.Errorf("gone: %v", err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func policies(t *testing.T, e *env) {
	put := func(r *pb.Rule) *pb.Rule {
		rsp, err := e.policy.Create(e.admin(), &pb.PolicyCreateRequest{Rule: r})
		if err != nil {
			t.Fatal(err)
		}
		return rsp.Rule
	}
	made := put(&pb.Rule{Id: "all", Effect: "allow", Roles: []string{"buyer"}, Services: []string{"shop"}})
	if made.Revision == 0 {
		t.Error("no revision")
	}
	put(&pb.Rule{Id: "no", Effect: "deny", Priority: 5, Accounts: []string{"eve"}})
	if r := put(&pb.Rule{Effect: "allow", Accounts: []string{"svc.*"}, Methods: []string{"Order.*"}}); r.Id == "" {
		t.Error("no id")
	}
	if _, err := e.policy.Create(e.admin(), &pb.PolicyCreateRequest{Rule: &pb.Rule{Id: "no", Effect: "deny"}}); code(err) != 409 {
		t.Errorf("twice: %v", err)
	}
	all, err := e.policy.Search(e.admin(), &pb.PolicySearchRequest{})
	if err != nil || len(ids(&pb.Rules{Rules: all.Rules})) != 3 || all.Rules[0].Id != "no" {
		t.Errorf("search: %v %v", all, err)
	}
	check := func(account, role string) *pb.Decision {
		rsp, err := e.policy.Check(e.admin(), &pb.PolicyCheckRequest{Call: &pb.Call{Account: account, Roles: []string{role}, Service: "shop", Method: "Cart.Add"}})
		if err != nil {
			t.Fatal(err)
		}
		return rsp.Decision
	}
	if d := check("ann", "buyer"); !d.Allowed || d.Rule != "all" {
		t.Errorf("ann: %v", d)
	}
	if d := check("eve", "buyer"); d.Allowed || d.Rule != "no" {
		t.Errorf("eve: %v", d)
	}
	diff, err := e.policy.Diff(e.admin(), &pb.PolicyDiffRequest{Remove: []string{"no"}, Put: []*pb.Rule{{Id: "all", Effect: "deny"}}})
	if err != nil || len(diff.Changes) == 0 {
		t.Errorf("diff: %v %v", diff, err)
	}
	if d := check("ann", "buyer"); !d.Allowed {
		t.Error("a dry run changed something")
	}
	stale := &pb.Rule{Id: "all", Effect: "deny", Revision: made.Revision + 100}
	if _, err := e.policy.Update(e.admin(), &pb.PolicyUpdateRequest{Rule: stale}); code(err) != 412 {
		t.Errorf("stale: %v", err)
	}
	up, err := e.policy.Update(e.admin(), &pb.PolicyUpdateRequest{Rule: &pb.Rule{Id: "all", Effect: "deny", Revision: made.Revision}, Force: true})
	if err != nil || up.Rule.Revision <= made.Revision {
		t.Errorf("update: %v %v", up, err)
	}
	if d := check("ann", "buyer"); d.Allowed {
		t.Error("an update does not count")
	}
	deletePolicy(t, e)
}

// deletePolicy deletes the rule "all", and nothing is left of it.
func deletePolicy(t *testing.T, e *env) {
	t.Helper()
	if _, err := e.policy.Delete(e.admin(), &pb.PolicyDeleteRequest{Id: "all"}); err != nil {
		t.Error(err)
	}
	for _, err := range []error{
		second(e.policy.Read(e.admin(), &pb.PolicyReadRequest{Id: "all"})),
		second(e.policy.Update(e.admin(), &pb.PolicyUpdateRequest{Rule: &pb.Rule{Id: "all", Effect: "deny"}})),
		second(e.policy.Delete(e.admin(), &pb.PolicyDeleteRequest{Id: "all"})),
	} {
		if code(err) != 404 {
			t.Errorf("gone: %v", err)
		}
	}
}

// given returns a code that ann gave to app, and its verifier.
func (e *env) given() (code, verifier string) {
	e.Helper()
	verifier = oauth2.GenerateVerifier()
	rsp, err := e.oauth.Authorize(e.as(e.token("ann", secretOf("ann"))), &pb.AuthorizeRequest{
		ResponseType: "code", ClientId: "app", Scopes: []string{"read"}, RedirectUri: callback,
		CodeChallenge: oauth2.S256ChallengeFromVerifier(verifier), CodeChallengeMethod: "S256",
	}, e.here()...)
	if err != nil {
		e.Fatal(err)
	}
	return rsp.Code, verifier
}

func (e *env) redeem(code, verifier string) (*pb.Token, error) {
	rsp, err := e.oauth.Token(e.as(""), &pb.TokenRequest{
		GrantType: "authorization_code", ClientId: "app", ClientSecret: secretOf("app"), Code: code, RedirectUri: callback, CodeVerifier: verifier,
	}, e.here()...)
	if err != nil { // then go-micro may still write to rsp
		return nil, err
	}
	return rsp.Token, nil
}

func (e *env) refresh(client, token string, scopes ...string) (*pb.Token, error) {
	rsp, err := e.oauth.Token(e.as(""), &pb.TokenRequest{
		GrantType: "refresh_token", ClientId: client, ClientSecret: secretOf(client), RefreshToken: token, Scopes: scopes,
	}, e.here()...)
	if err != nil { // then go-micro may still write to rsp
		return nil, err
	}
	return rsp.Token, nil
}

// Attack: a code is replayed. The tokens of its first use end.
func codeReplay(t *testing.T, e *env) {
	e.people()
	c, verifier := e.given()
	token, err := e.redeem(c, verifier)
	if err != nil {
		t.Fatal(err)
	}
	if !e.active(token.AccessToken) {
		t.Fatal("not active")
	}
	if _, err := e.redeem(c, verifier); code(err) != 400 {
		t.Errorf("replay: %v", err)
	}
	if e.active(token.AccessToken) {
		t.Error("the access token lives on")
	}
	if _, err := e.refresh("app", token.RefreshToken); code(err) != 400 {
		t.Errorf("the refresh token lives on: %v", err)
	}
}

// Attack: a code is redeemed many times at once.
func parallelRedemption(t *testing.T, e *env) {
	e.people()
	c, verifier := e.given()
	var mu sync.Mutex
	var got []*pb.Token
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if token, err := e.redeem(c, verifier); err == nil {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, token)
			} else if code(err) != 400 {
				t.Errorf("refused with %v", err)
			}
		})
	}
	wg.Wait()
	if len(got) > 1 {
		t.Errorf("%d got tokens", len(got))
	}
	for _, token := range got {
		if e.active(token.AccessToken) {
			t.Error("the token is good although the code was replayed")
		}
	}
}

// Pain: 100 refreshes of one client at once must not log its user out.
func concurrentRefreshes(t *testing.T, e *env) {
	e.people()
	token, err := e.redeem(e.given())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	old, seen := token.RefreshToken, map[string]bool{}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			fresh, err := e.refresh("app", old)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			seen[fresh.RefreshToken] = true
			token = fresh
		})
	}
	wg.Wait()
	if len(seen) != 100 {
		t.Errorf("%d different successors", len(seen))
	}
	if !e.active(token.AccessToken) {
		t.Error("the family was ended")
	}
	if _, err := e.refresh("app", token.RefreshToken); err != nil {
		t.Error(err)
	}
}

// Attack: an old refresh token is used again, after the grace.
func refreshReuse(t *testing.T, e *env) {
	e.people()
	token, err := e.redeem(e.given())
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := e.refresh("app", token.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	rpctest.Eventually(t, "the old token is refused", func() bool {
		_, err := e.refresh("app", token.RefreshToken)
		return code(err) == 400
	})
	if _, err := e.refresh("app", fresh.RefreshToken); code(err) != 400 {
		t.Errorf("the successor lives on: %v", err)
	}
	if e.active(fresh.AccessToken) {
		t.Error("the access token lives on")
	}
}

// What makes an account less ends its tokens, and never those it gets next.
func lessIsRevoked(t *testing.T, e *env) {
	for name, c := range map[string]struct {
		r     *pb.Record
		field string
		again bool // it may have tokens afterwards
	}{
		"secret":   {&pb.Record{ClientSecret: "another secret"}, "client_secret", true},
		"scopes":   {&pb.Record{Scopes: []string{"a"}}, "scopes", true},
		"roles":    {&pb.Record{}, "roles", true},
		"disabled": {&pb.Record{Disabled: true}, "disabled", false},
	} {
		e.create(&pb.Record{Id: name, Type: "user", Scopes: []string{"a", "b"}, Roles: []string{"r"}})
		old := e.token(name, secretOf(name))
		c.r.Id = name
		if _, err := e.account.Update(e.admin(), &pb.UpdateRequest{Account: c.r, Fields: []string{c.field}}); err != nil {
			t.Fatal(err)
		}
		if e.active(old) {
			t.Errorf("%s: the old token lives on", name)
		}
		secret := secretOf(name)
		if c.r.ClientSecret != "" {
			secret = c.r.ClientSecret
		}
		rsp, err := e.oauth.Token(e.as(""), &pb.TokenRequest{GrantType: "client_credentials", ClientId: name, ClientSecret: secret})
		switch {
		case c.again && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.again && !e.active(rsp.Token.AccessToken):
			t.Errorf("%s: the new token is revoked, too", name)
		case !c.again && code(err) != 401:
			t.Errorf("%s: %v", name, err)
		}
	}
	e.create(&pb.Record{Id: "more", Type: "user", Scopes: []string{"a"}})
	old := e.token("more", secretOf("more"))
	if _, err := e.account.Update(e.admin(), &pb.UpdateRequest{Account: &pb.Record{Id: "more", Scopes: []string{"b", "a"}}, Fields: []string{"scopes"}}); err != nil {
		t.Fatal(err)
	}
	if !e.active(old) {
		t.Error("more scopes ended a token")
	}
}

func concurrentPuts(t *testing.T, e *env) {
	admin := e.admin()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if _, err := e.policy.Create(admin, &pb.PolicyCreateRequest{Rule: &pb.Rule{Id: fmt.Sprint("r", i), Effect: "allow"}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	all, err := e.policy.Search(admin, &pb.PolicySearchRequest{})
	if err != nil || len(ids(&pb.Rules{Rules: all.Rules})) != 20 {
		t.Errorf("%d rules, %v", len(all.GetRules()), err)
	}
	seen := map[uint64]bool{}
	for _, r := range all.Rules {
		seen[r.Revision] = true // the starting ones share the first
	}
	if len(seen) != 21 {
		t.Errorf("%d different revisions", len(seen))
	}
}
