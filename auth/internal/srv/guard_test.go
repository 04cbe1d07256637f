package srv_test

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go-micro.dev/v6/metadata"

	"github.com/micro/go-platform/auth"
	authsrv "github.com/micro/go-platform/auth/internal/srv"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/daemon"
)

// registered returns every method of every handler, out of the interfaces that
// the handlers must have: a new one is in here without anybody's help.
func registered() []string {
	var all []string
	for name, handler := range map[string]reflect.Type{
		"Account": reflect.TypeFor[pb.AccountHandler](), "Oauth2": reflect.TypeFor[pb.Oauth2Handler](), "Policy": reflect.TypeFor[pb.PolicyHandler](),
	} {
		for i := range handler.NumMethod() {
			all = append(all, name+"."+handler.Method(i).Name)
		}
	}
	return all
}

// Attack: calling without a token, with somebody's, or a method that nobody
// thought of. The table says for each method who may.
func TestEveryMethodIsGuarded(t *testing.T) {
	e := start(t)
	e.people()
	admin, ann := e.token(authsrv.AdminID, adminSecret), e.token("ann", secretOf("ann"))
	const open, token, adminOnly = "open", "token", "admin"
	want := map[string]string{
		"Account.Create": adminOnly, "Account.Read": token, "Account.Update": adminOnly, "Account.Delete": adminOnly,
		"Account.Search": adminOnly, "Account.Enrol": open,
		"Oauth2.Authorize": token, "Oauth2.Token": open, "Oauth2.Revoke": token, "Oauth2.Introspect": token, "Oauth2.Keys": token,
		"Policy.Create": adminOnly, "Policy.Read": adminOnly, "Policy.Update": adminOnly, "Policy.Delete": adminOnly,
		"Policy.Search": adminOnly, "Policy.Check": adminOnly, "Policy.Diff": adminOnly, "Policy.Watch": token,
		"Policy.Report": token, "Policy.Denials": adminOnly,
	}
	// What go-micro or a careless change might register, too.
	for _, m := range append(registered(), "Debug.Health", "Debug.Stats", "Account.Export", "") {
		is, known := want[m]
		if !known {
			is = "nobody"
		}
		for who, raw := range map[string]string{"nobody": "", "ann": ann, "admin": admin, "garbage": "x.y.z"} {
			passed, err := authsrv.Guard(e.as(raw), t, e.service, m)
			should := is == open || is == token && (who == "ann" || who == "admin") || is == adminOnly && who == "admin"
			if passed != should {
				t.Errorf("%q by %s: passed is %v: %v", m, who, passed, err)
			}
			status := int32(403)
			if who == "nobody" || who == "garbage" {
				status = 401
			}
			if !passed && code(err) != status {
				t.Errorf("%q by %s: %v, want %d", m, who, err, status)
			}
		}
	}
	if len(registered()) != len(want) {
		t.Errorf("%d methods, %d in the table", len(registered()), len(want))
	}
}

// Attack: two headers, of which the next reader takes the other one, and
// headers that are nearly right.
func TestAuthorizationHeader(t *testing.T) {
	e := start(t)
	admin := e.token(authsrv.AdminID, adminSecret)
	for name, c := range map[string]struct {
		md   metadata.Metadata
		pass bool
	}{
		"usual":            {metadata.Metadata{"authorization": "Bearer " + admin}, true},
		"upper case":       {metadata.Metadata{"Authorization": "bearer " + admin}, true},
		"two spellings":    {metadata.Metadata{"authorization": "Bearer " + admin, "Authorization": "Bearer " + admin}, false},
		"no scheme":        {metadata.Metadata{"authorization": admin}, false},
		"Basic":            {metadata.Metadata{"authorization": "Basic " + admin}, false},
		"space":            {metadata.Metadata{"authorization": "Bearer  " + admin}, false},
		"list":             {metadata.Metadata{"authorization": "Bearer " + admin + ", Bearer x"}, false},
		"empty":            {metadata.Metadata{"authorization": ""}, false},
		"spoofed identity": {metadata.Metadata{"micro-from-service": "go.micro.srv.auth", "x-account": "admin"}, false},
	} {
		passed, err := authsrv.Guard(metadata.NewContext(t.Context(), c.md), t, e.service, "Account.Search")
		if passed != c.pass || !passed && code(err) != 401 {
			t.Errorf("%s: %v %v", name, passed, err)
		}
	}
}

// Attack: tokens that look like ours.
func TestForgedTokens(t *testing.T) {
	url := "sqlite://" + filepath.Join(t.TempDir(), "auth.db")
	e := start(t, on(url))
	admin := e.token(authsrv.AdminID, adminSecret)
	parts := strings.Split(admin, ".")
	good, bad := authsrv.Follow(t, url, e.url).Tokens(t)
	for name, raw := range bad {
		if passed, err := authsrv.Guard(e.as(raw), t, e.service, "Account.Search"); passed || code(err) != 401 {
			t.Errorf("%s: %v %v", name, passed, err)
		}
		if e.active(raw) && name != "for others" {
			t.Errorf("%s is active", name)
		}
	}
	for name, raw := range map[string]string{
		"no signature": parts[0] + "." + parts[1] + ".", "cut": admin[:len(admin)-2], "4 parts": admin + ".x",
		"dots": strings.Repeat(".", 5000), "1 MB": strings.Repeat("x", 1<<20),
	} {
		if _, err := e.oauth.Introspect(e.admin(), &pb.IntrospectRequest{AccessToken: raw}); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if e.active(raw) {
			t.Errorf("%s is active", name)
		}
	}
	if passed, err := authsrv.Guard(e.as(good), t, e.service, "Account.Search"); !passed {
		t.Errorf("the forgeries' original: %v", err)
	}
}

func TestAccountReadOfOwn(t *testing.T) {
	e := start(t)
	e.people()
	ann := e.as(e.token("ann", secretOf("ann")))
	if rsp, err := e.account.Read(ann, &pb.ReadRequest{Id: "ann"}); err != nil || rsp.Account.Id != "ann" {
		t.Errorf("own: %v", err)
	}
	for _, other := range []string{"app", "ghost", ""} {
		if _, err := e.account.Read(ann, &pb.ReadRequest{Id: other}); code(err) != 403 {
			t.Errorf("account %q: %v", other, err)
		}
	}
}

func TestBadInput(t *testing.T) {
	e := start(t)
	e.people()
	many := make([]string, 100)
	for i := range many {
		many[i] = strings.Repeat("s", 5) + string(rune('a'+i%26)) + string(rune('a'+i/26))
	}
	for field, r := range map[string]*pb.Record{
		"account: ":             nil,
		"account.id":            {Id: "a b", Type: "user"},
		"account.client_id":     {ClientId: "a\x00", Type: "user"},
		"account.type":          {Type: "robot"},
		"account.client_secret": {Type: "user", ClientSecret: "short"},
		"account.metadata":      {Type: "user", Metadata: map[string]string{"request.sub": "x"}},
		"account.scopes":        {Type: "user", Scopes: []string{"a b"}},
		"account.roles":         {Type: "user", Roles: many},
		"account.redirect_uris": {Type: "user", RedirectUris: []string{"http://evil.example/"}},
	} {
		if _, err := e.account.Create(e.admin(), &pb.CreateRequest{Account: r}); code(err) != 400 || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, uri := range []string{
		"javascript:alert(1)", "https:///x", "https://a@b/c", "https://a/b#c", "/relative", "https://a/ b", "https://a/b;c", "data:text/html,x", "ftp://a/b", "https://a/" + strings.Repeat("x", 600),
	} {
		if _, err := e.account.Create(e.admin(), &pb.CreateRequest{Account: &pb.Record{Type: "user", RedirectUris: []string{uri}}}); code(err) != 400 {
			t.Errorf("%q: %v", uri, err)
		}
	}
	for field, r := range map[string]*pb.UpdateRequest{
		"account.id":            {Fields: []string{"roles"}},
		"fields":                {Account: &pb.Record{Id: "ann"}},
		"client_id":             {Account: &pb.Record{Id: "ann"}, Fields: []string{"client_id"}},
		"account.client_secret": {Account: &pb.Record{Id: "ann"}, Fields: []string{"client_secret"}},
		"account.type":          {Account: &pb.Record{Id: "ann"}, Fields: []string{"type"}},
	} {
		if _, err := e.account.Update(e.admin(), r); code(err) != 400 || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	for field, r := range map[string]*pb.Rule{
		"rule": nil, "effect": {Id: "x"}, "priority": {Id: "x", Effect: "deny", Priority: 1 << 40}, "services": {Id: "x", Effect: "deny", Services: []string{"a*"}},
	} {
		if _, err := e.policy.Create(e.admin(), &pb.PolicyCreateRequest{Rule: r}); code(err) != 400 || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	for name, err := range map[string]error{
		"limit":  second(e.account.Search(e.admin(), &pb.SearchRequest{Limit: -1})),
		"offset": second(e.policy.Search(e.admin(), &pb.PolicySearchRequest{Offset: -1})),
		"call":   second(e.policy.Check(e.admin(), &pb.PolicyCheckRequest{})),
		"calls":  second(e.policy.Diff(e.admin(), &pb.PolicyDiffRequest{Calls: make([]*pb.Call, 10_001)})),
		"effect": second(e.policy.Diff(e.admin(), &pb.PolicyDiffRequest{Put: []*pb.Rule{{Id: "x"}}})),
	} {
		if code(err) != 400 || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all, err := e.account.Search(e.admin(), &pb.SearchRequest{}); err != nil || len(all.Accounts) != 4 {
		t.Errorf("bad input left something behind: %v %v", all, err)
	}
}

// The largest account has a token that fits into the metadata of a call.
func TestLargestToken(t *testing.T) {
	e := start(t)
	names := func(letter string) (all []string) {
		for i := range 63 {
			all = append(all, letter+strings.Repeat("<", 1)+strings.Repeat("x", i%4)+string(rune('A'+i%26))+string(rune('A'+i/26)))
		}
		return all[:50]
	}
	large := func(bytes int) map[string]string { return map[string]string{"k": strings.Repeat("v", bytes-8)} }
	e.create(&pb.Record{Id: strings.Repeat("i", 128), Type: "service", Metadata: large(2 << 10), Scopes: names("s"), Roles: names("r")})
	id := strings.Repeat("i", 128)
	rsp, err := e.oauth.Token(e.as(""), &pb.TokenRequest{
		GrantType: "client_credentials", ClientId: id, ClientSecret: secretOf(id), Metadata: large(1 << 10),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", len(rsp.Token.AccessToken))
	if _, err := e.oauth.Keys(e.as(rsp.Token.AccessToken), &pb.KeysRequest{}); err != nil {
		t.Error(err)
	}
	for _, r := range []*pb.Record{
		{Type: "service", Metadata: large(2<<10 + 1)}, {Type: "service", Metadata: map[string]string{"k": strings.Repeat("<", 1000)}},
	} {
		if _, err := e.account.Create(e.admin(), &pb.CreateRequest{Account: r}); code(err) != 400 {
			t.Errorf("a larger one: %v", err)
		}
	}
}

// auth-srv shows others tokens of an account that nobody can be given.
func TestNobodyElseIsThisService(t *testing.T) {
	e := start(t)
	for _, r := range []*pb.Record{
		{Id: auth.ServiceName, Type: "service"}, {Id: "a", ClientId: auth.ServiceName, Type: "service"},
	} {
		if _, err := e.account.Create(e.admin(), &pb.CreateRequest{Account: r}); code(err) != 400 {
			t.Errorf("%v: %v", r, err)
		}
	}
}

// For development: everybody may do everything.
func TestInsecure(t *testing.T) {
	e := start(t, func(_ *authsrv.Config, d *daemon.Config) { d.Insecure = true })
	made, err := e.account.Create(e.as(""), &pb.CreateRequest{Account: &pb.Record{Id: "a", Type: "service"}})
	if err != nil {
		t.Fatal(err)
	}
	token := e.token("a", made.Account.ClientSecret)
	if _, err := e.account.Read(e.as(""), &pb.ReadRequest{Id: "a"}); err != nil {
		t.Error(err)
	}
	if rsp, err := e.oauth.Introspect(e.as(""), &pb.IntrospectRequest{AccessToken: token}); err != nil || !rsp.Active {
		t.Errorf("%v %v", rsp, err)
	}
	if _, err := e.oauth.Revoke(e.as(""), &pb.RevokeRequest{AccessToken: token}); err != nil {
		t.Error(err)
	}
	if _, err := e.oauth.Authorize(e.as(""), &pb.AuthorizeRequest{}); code(err) != 401 {
		t.Errorf("nobody authorizes: %v", err)
	}
}

// Whoever enrols with a secret of its own may ask again; nobody else is given the
// account.
func TestEnrolAgain(t *testing.T) {
	e := start(t)
	own, other := strings.Repeat("A", 43), strings.Repeat("B", 42)+"A"
	for _, c := range []struct {
		secret string
		code   int32
	}{{own[1:], 400}, {own + "A", 400}, {"password", 400}, {own, 0}, {own, 0}, {other, 409}, {"", 409}} {
		rsp, err := e.account.Enrol(e.as(""), &pb.EnrolRequest{Id: "go.micro.srv.trace", Secret: bootstrap, ClientSecret: c.secret})
		if code(err) != c.code || err == nil && rsp.Account.ClientSecret != own {
			t.Errorf("%q: %v, %v, want %d", c.secret, rsp, err, c.code)
		}
	}
	e.token("go.micro.srv.trace", own)
	if _, err := e.account.Update(e.admin(), &pb.UpdateRequest{Account: &pb.Record{Id: "go.micro.srv.trace", Disabled: true}, Fields: []string{"disabled"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.account.Enrol(e.as(""), &pb.EnrolRequest{Id: "go.micro.srv.trace", Secret: bootstrap, ClientSecret: own}); code(err) != 409 {
		t.Errorf("a disabled account: %v", err)
	}
}

func TestEnrol(t *testing.T) {
	e := start(t)
	rsp, err := e.account.Enrol(e.as(""), &pb.EnrolRequest{Id: "go.micro.srv.trace", Secret: bootstrap})
	if err != nil {
		t.Fatal(err)
	}
	token := payload(t, e.token("go.micro.srv.trace", rsp.Account.ClientSecret))
	if token["scope"] != authsrv.ScopeService || token["roles"].([]any)[0] != authsrv.RolePlatform || token["type"] != "service" {
		t.Errorf("claims %v", token)
	}
	for name, c := range map[string]struct {
		id, secret string
		code       int32
	}{
		"twice":          {"go.micro.srv.trace", bootstrap, 409},
		"wrong secret":   {"go.micro.srv.config", "wrong", 401},
		"no secret":      {"go.micro.srv.config", "", 401},
		"made up":        {"go.micro.srv.evil", bootstrap, 400},
		"below one":      {"go.micro.srv.trace.kv", bootstrap, 400},
		"not ours":       {"com.example.shop", bootstrap, 400},
		"prefix alone":   {"go.micro.srv.", bootstrap, 400},
		"auth-srv":       {"go.micro.srv.auth", bootstrap, 400},
		"space":          {"go.micro.srv.a b", bootstrap, 400},
		"the admin's id": {"admin", bootstrap, 400},
	} {
		if _, err := e.account.Enrol(e.as(""), &pb.EnrolRequest{Id: c.id, Secret: c.secret}); code(err) != c.code {
			t.Errorf("%s: %v, want %d", name, err, c.code)
		}
	}
}
