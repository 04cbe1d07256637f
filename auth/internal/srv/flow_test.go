package srv_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/micro/go-platform/auth"
	authsrv "github.com/micro/go-platform/auth/internal/srv"
	pb "github.com/micro/go-platform/auth/proto"
)

// login follows an authorization URL as a browser would, logs in and returns
// where the browser was sent.
func (e *env) login(authURL, name, secret string) (*url.URL, *answer) {
	e.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		e.Fatal(err)
	}
	browser := *e.http
	browser.Jar = jar
	b := *e
	b.http = &browser
	asked := b.get(strings.TrimPrefix(authURL, e.url))
	if asked.status != http.StatusFound {
		return nil, asked
	}
	to, err := url.Parse(asked.header.Get("Location"))
	if err != nil {
		e.Fatal(err)
	}
	if to.Path != "/oauth2/login" {
		return to, asked
	}
	form := url.Values{"name": {name}, "secret": {secret}, "decision": {"allow"}}
	page := b.get(to.RequestURI())
	for _, field := range []string{"request", "csrf"} {
		m := regexp.MustCompile(`name="` + field + `" value="([^"]*)"`).FindStringSubmatch(page.body)
		if m == nil {
			e.Fatalf("no %s on the page: %s", field, page.body)
		}
		form.Set(field, m[1])
	}
	done := b.post("/oauth2/login", form, "", "")
	to, err = url.Parse(done.header.Get("Location"))
	if err != nil {
		e.Fatal(err)
	}
	return to, done
}

func (e *env) config() *oauth2.Config {
	return &oauth2.Config{
		ClientID: "app", ClientSecret: secretOf("app"), RedirectURL: callback, Scopes: []string{"read"},
		Endpoint: oauth2.Endpoint{AuthURL: e.url + "/oauth2/authorize", TokenURL: e.url + "/oauth2/token"},
	}
}

// authorized returns a token that ann gave to app.
func (e *env) authorized() (*oauth2.Token, *oauth2.Config, context.Context) {
	e.Helper()
	c, ctx := e.config(), context.WithValue(e.as(""), oauth2.HTTPClient, e.http)
	verifier := oauth2.GenerateVerifier()
	to, page := e.login(c.AuthCodeURL("some state", oauth2.S256ChallengeOption(verifier)), "ann", secretOf("ann"))
	if to == nil || to.Query().Get("code") == "" {
		e.Fatalf("no code: %v %s", to, page.body)
	}
	if to.Query().Get("state") != "some state" || to.Query().Get("iss") != e.url {
		e.Errorf("sent back to %s", to)
	}
	t, err := c.Exchange(ctx, to.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		e.Fatal(err)
	}
	return t, c, ctx
}

func payload(t testing.TB, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// Any golang.org/x/oauth2 program works: the service's grant.
func TestClientCredentials(t *testing.T) {
	e := start(t)
	e.people()
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams} {
		c := clientcredentials.Config{
			ClientID: "ann", ClientSecret: secretOf("ann"), TokenURL: e.url + "/oauth2/token", AuthStyle: style, Scopes: []string{"read"},
		}
		token, err := c.Token(context.WithValue(e.as(""), oauth2.HTTPClient, e.http))
		if err != nil {
			t.Fatal(err)
		}
		p := payload(t, token.AccessToken)
		if p["sub"] != "ann" || p["scope"] != "read" || p["iss"] != e.url || p["client_id"] != "ann" || p["type"] != "user" ||
			p["meta"].(map[string]any)["team"] != "north" || p["sid"] != nil || p["roles"].([]any)[0] != "buyer" {
			t.Errorf("claims %v", p)
		}
		if token.RefreshToken != "" || token.Expiry.IsZero() || token.TokenType != "Bearer" {
			t.Errorf("token %+v", token)
		}
		if !e.active(token.AccessToken) {
			t.Error("not active")
		}
	}
}

// Any golang.org/x/oauth2 program works: the user's grant with PKCE, refresh.
func TestAuthorizationCode(t *testing.T) {
	e := start(t)
	e.people()
	token, c, ctx := e.authorized()
	p := payload(t, token.AccessToken)
	if p["sub"] != "ann" || p["client_id"] != "app" || p["scope"] != "read" || p["sid"] == "" {
		t.Errorf("claims %v", p)
	}
	old := *token
	token.Expiry = token.Expiry.AddDate(-1, 0, 0)
	fresh, err := c.TokenSource(ctx, token).Token()
	if err != nil {
		t.Fatal(err)
	}
	if fresh.AccessToken == old.AccessToken || fresh.RefreshToken == old.RefreshToken || fresh.RefreshToken == "" {
		t.Error("nothing was refreshed")
	}
	if payload(t, fresh.AccessToken)["sid"] != p["sid"] {
		t.Error("the family changed")
	}
}

func TestIDToken(t *testing.T) {
	e := start(t)
	e.people()
	e.create(&pb.Record{Id: "bob", Type: "user", Scopes: []string{"openid"}})
	c, verifier := e.config(), oauth2.GenerateVerifier()
	c.Scopes = []string{"openid"}
	to, _ := e.login(c.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("nonce", "n1")), "bob", secretOf("bob"))
	token, err := c.Exchange(context.WithValue(e.as(""), oauth2.HTTPClient, e.http), to.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	id, _ := token.Extra("id_token").(string)
	p := payload(t, id)
	if p["aud"] != "app" || p["sub"] != "bob" || p["nonce"] != "n1" {
		t.Errorf("claims %v", p)
	}
	if e.active(id) { // attack: an id token as access token
		t.Error("an id token passes for an access token")
	}
	if _, err := e.account.Read(e.as(id), &pb.ReadRequest{Id: "bob"}); code(err) != 401 {
		t.Errorf("an id token is let in: %v", err)
	}
}

// A user with a token of its own can authorize a client over RPC, too.
func TestAuthorizeOverRPC(t *testing.T) {
	e := start(t)
	e.people()
	verifier := oauth2.GenerateVerifier()
	ask := &pb.AuthorizeRequest{
		ResponseType: "code", ClientId: "app", Scopes: []string{"read"}, State: "s", RedirectUri: callback,
		CodeChallenge: oauth2.S256ChallengeFromVerifier(verifier), CodeChallengeMethod: "S256",
	}
	given, err := e.oauth.Authorize(e.as(e.token("ann", secretOf("ann"))), ask)
	if err != nil {
		t.Fatal(err)
	}
	rsp, err := e.oauth.Token(e.as(""), &pb.TokenRequest{
		GrantType: "authorization_code", ClientId: "app", ClientSecret: secretOf("app"), Code: given.Code,
		RedirectUri: callback, CodeVerifier: verifier, Metadata: map[string]string{"device": "phone", "sub": "admin", "roles": "admin"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if rsp.Token.RefreshToken == "" || !slices.Equal(rsp.Token.Scopes, []string{"read"}) || rsp.Token.Metadata["request.device"] != "phone" || rsp.Token.Metadata["team"] != "north" {
		t.Errorf("token %v", rsp.Token)
	}

	for name, c := range map[string]struct {
		token string
		edit  func(*pb.AuthorizeRequest)
		code  int32
	}{
		"nobody":                     {"", func(*pb.AuthorizeRequest) {}, 401},
		"a service":                  {e.token("orders", secretOf("orders")), func(*pb.AuthorizeRequest) {}, 403},
		"a client with ann's token":  {rsp.Token.AccessToken, func(*pb.AuthorizeRequest) {}, 403},
		"ann with a narrower token":  {e.token("ann", secretOf("ann"), "write"), func(*pb.AuthorizeRequest) {}, 400},
		"a scope ann does not have":  {e.token("ann", secretOf("ann")), func(r *pb.AuthorizeRequest) { r.Scopes = []string{"openid"} }, 400},
		"another redirect URI":       {e.token("ann", secretOf("ann")), func(r *pb.AuthorizeRequest) { r.RedirectUri += "/" }, 400},
		"no PKCE":                    {e.token("ann", secretOf("ann")), func(r *pb.AuthorizeRequest) { r.CodeChallenge = "" }, 400},
		"an unknown client":          {e.token("ann", secretOf("ann")), func(r *pb.AuthorizeRequest) { r.ClientId = "ghost" }, 400},
		"the implicit response type": {e.token("ann", secretOf("ann")), func(r *pb.AuthorizeRequest) { r.ResponseType = "token" }, 400},
	} {
		r := &pb.AuthorizeRequest{
			ResponseType: ask.ResponseType, ClientId: ask.ClientId, Scopes: ask.Scopes, State: ask.State,
			RedirectUri: ask.RedirectUri, CodeChallenge: ask.CodeChallenge, CodeChallengeMethod: ask.CodeChallengeMethod,
		}
		c.edit(r)
		if _, err := e.oauth.Authorize(e.as(c.token), r); code(err) != c.code {
			t.Errorf("%s: %v, want %d", name, err, c.code)
		}
	}
}

// Each hop narrows what the token may do and is named in it.
func TestTokenExchange(t *testing.T) {
	e := start(t)
	e.people()
	e.create(&pb.Record{Id: "stock", Type: "service"})
	user, _, _ := e.authorized()
	first, err := e.exchange("orders", e.tokenFor("ann", secretOf("ann"), "orders"), []string{"read"}, "stock")
	if err != nil {
		t.Fatal(err)
	}
	second, err := e.exchange("stock", first.Token.AccessToken, nil, "billing")
	if err != nil {
		t.Fatal(err)
	}
	p := payload(t, second.Token.AccessToken)
	act := p["act"].(map[string]any)
	before, _ := act["act"].(map[string]any)
	if p["sub"] != "ann" || p["scope"] != "read" || p["client_id"] != "stock" || act["sub"] != "stock" || before["sub"] != "orders" {
		t.Errorf("claims %v", p)
	}
	if len(p["aud"].([]any)) != 1 || second.Token.RefreshToken != "" {
		t.Errorf("aud %v, refresh token %q", p["aud"], second.Token.RefreshToken)
	}
	if first.Token.ExpiresAt < second.Token.ExpiresAt {
		t.Error("the exchange prolonged the token")
	}
	if _, err := e.account.Read(e.as(second.Token.AccessToken), &pb.ReadRequest{Id: "ann"}); code(err) != 401 {
		t.Errorf("a token for others is let in: %v", err)
	}
	for name, c := range map[string]struct {
		token       string
		scopes, aud []string
		want        string
	}{
		"wider scope":         {first.Token.AccessToken, []string{"write"}, nil, "invalid_scope"},
		"two audiences":       {first.Token.AccessToken, nil, []string{"stock", "billing"}, "invalid_target"},
		"a pattern":           {first.Token.AccessToken, nil, []string{"stock.*"}, "invalid_target"},
		"another's, directly": {e.token("ann", secretOf("ann")), nil, []string{"stock"}, "invalid_grant"},
		"for another service": {second.Token.AccessToken, nil, []string{"orders"}, "invalid_grant"},
		"for a topic":         {e.tokenFor("ann", secretOf("ann"), auth.TopicAudience("orders")), nil, []string{"stock"}, "invalid_grant"},
		"not a token":         {"x.y.z", nil, nil, "invalid_grant"},
		"refresh token":       {user.RefreshToken, nil, nil, "invalid_grant"},
	} {
		if _, err := e.exchange("orders", c.token, c.scopes, c.aud...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	ends, err := e.exchange("app", user.AccessToken, nil, "orders")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.oauth.Revoke(e.admin(), &pb.RevokeRequest{RefreshToken: user.RefreshToken}); err != nil {
		t.Fatal(err)
	}
	if e.active(ends.Token.AccessToken) {
		t.Error("an exchanged token outlives its family")
	}
}

// Who was called by an admin may speak for the admin, but not rule in its place.
func TestAnExchangedTokenDoesNotAdministrate(t *testing.T) {
	e := start(t)
	e.create(&pb.Record{Id: "orders", Type: "service"})
	got, err := e.exchange("orders", e.tokenFor(authsrv.AdminID, adminSecret, "orders"), nil, auth.ServiceName)
	if err != nil {
		t.Fatal(err)
	}
	ctx := e.as(got.Token.AccessToken)
	if _, err := e.account.Create(ctx, &pb.CreateRequest{Account: &pb.Record{Id: "mine", ClientSecret: "secret of mine"}}, e.here()...); code(err) != 403 {
		t.Errorf("an account was made: %v", err)
	}
}

func TestDiscovery(t *testing.T) {
	e := start(t)
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		a := e.get(path)
		if a.status != 200 || a.text("issuer") != e.url || a.text("token_endpoint") != e.url+"/oauth2/token" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	keys := e.get("/oauth2/jwks")
	if keys.status != 200 || !strings.Contains(keys.body, `"crv":"Ed25519"`) || strings.Contains(keys.body, `"d":`) {
		t.Errorf("keys: %s", keys.body)
	}
	rsp, err := e.oauth.Keys(e.admin(), &pb.KeysRequest{})
	if err != nil || strings.TrimSpace(keys.body) != string(rsp.Jwks) || rsp.Issuer != e.url {
		t.Errorf("keys over RPC: %v %v", rsp, err)
	}
}
