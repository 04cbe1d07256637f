package srv_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	authsrv "github.com/micro/go-platform/auth/internal/srv"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestCodeAttacks(t *testing.T) {
	e := start(t)
	e.people()
	e.create(&pb.Record{Id: "thief", Type: "service", Scopes: []string{"read"}, RedirectUris: []string{callback}})
	for name, c := range map[string]struct {
		edit func(*pb.TokenRequest)
		want string
	}{
		"code of another client":     {func(r *pb.TokenRequest) { r.ClientId, r.ClientSecret = "thief", secretOf("thief") }, "invalid_grant"},
		"no verifier":                {func(r *pb.TokenRequest) { r.CodeVerifier = "" }, "invalid_grant"},
		"wrong verifier":             {func(r *pb.TokenRequest) { r.CodeVerifier = oauth2.GenerateVerifier() }, "invalid_grant"},
		"challenge as verifier":      {func(r *pb.TokenRequest) { r.CodeVerifier = oauth2.S256ChallengeFromVerifier(r.CodeVerifier) }, "invalid_grant"},
		"another redirect_uri":       {func(r *pb.TokenRequest) { r.RedirectUri = "http://127.0.0.1:9/back" }, "invalid_grant"},
		"no redirect_uri":            {func(r *pb.TokenRequest) { r.RedirectUri = "" }, "invalid_request"},
		"guessed code":               {func(r *pb.TokenRequest) { r.Code = "AAAA" }, "invalid_grant"},
		"no code":                    {func(r *pb.TokenRequest) { r.Code = "" }, "invalid_request"},
		"no secret":                  {func(r *pb.TokenRequest) { r.ClientSecret = "" }, "invalid_client"},
		"no client":                  {func(r *pb.TokenRequest) { r.ClientId = "" }, "invalid_request"},
		"unknown grant type":         {func(r *pb.TokenRequest) { r.GrantType = "password" }, "unsupported_grant_type"},
		"no grant type":              {func(r *pb.TokenRequest) { r.GrantType = "" }, "invalid_request"},
		"JWT assertion as grant":     {func(r *pb.TokenRequest) { r.GrantType = "urn:ietf:params:oauth:grant-type:jwt-bearer" }, "invalid_request"},
		"device code as grant":       {func(r *pb.TokenRequest) { r.GrantType = "urn:ietf:params:oauth:grant-type:device_code" }, "unauthorized_client"},
		"oversize request":           {func(r *pb.TokenRequest) { r.Code = strings.Repeat("x", 100<<10) }, "without a token"},
		"more metadata than a token": {func(r *pb.TokenRequest) { r.Metadata = map[string]string{"a": strings.Repeat("x", 2000)} }, "metadata"},
		"control characters":         {func(r *pb.TokenRequest) { r.Metadata = map[string]string{"a": "b\r\nc"} }, "metadata"},
	} {
		given, verifier := e.given()
		r := &pb.TokenRequest{
			GrantType: "authorization_code", ClientId: "app", ClientSecret: secretOf("app"), Code: given, RedirectUri: callback, CodeVerifier: verifier,
		}
		c.edit(r)
		_, err := e.oauth.Token(e.as(""), r)
		if n := code(err); n != 400 && n != 401 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		if r.Code == given && r.ClientId == "app" && r.GrantType == "authorization_code" {
			if _, err := e.redeem(given, verifier); err != nil {
				t.Errorf("%s: used up the code: %v", name, err)
			}
		}
	}
}

// Attack: an authorization request that leads elsewhere, or is weaker than it
// must be. What may not be redirected is shown; the rest goes to the client.
func TestAuthorizeAttacks(t *testing.T) {
	e := start(t)
	e.people()
	shown := map[string]string{
		"prefix":            callback + "/evil",
		"suffix":            callback + ".evil.example",
		"userinfo":          "https://app.example@evil.example/callback",
		"user before host":  "https://evil@app.example/callback",
		"encoded dot-dot":   "https://app.example/callback/%2e%2e/evil",
		"dot-dot":           "https://app.example/x/../callback",
		"encoded letter":    "https://app.example/%63allback",
		"other case":        "https://APP.example/callback",
		"explicit port":     "https://app.example:443/callback",
		"scheme":            "http://app.example/callback",
		"query":             callback + "?x=y",
		"fragment":          callback + "#x",
		"backslash":         `https://evil.example\@app.example/callback`,
		"newline":           callback + "\r\nSet-Cookie: a=b",
		"another port":      "http://127.0.0.1:10/back",
		"localhost by name": "http://localhost:9/back",
		"javascript":        "javascript:alert(1)",
		"none":              "",
	}
	ask := func(change func(url.Values)) *answer {
		q := url.Values{
			"response_type": {"code"}, "client_id": {"app"}, "redirect_uri": {callback}, "state": {"s"}, "scope": {"read"},
			"code_challenge": {oauth2.S256ChallengeFromVerifier(oauth2.GenerateVerifier())}, "code_challenge_method": {"S256"},
		}
		change(q)
		return e.get("/oauth2/authorize?" + q.Encode())
	}
	if a := ask(func(url.Values) {}); a.status != http.StatusFound || !strings.HasPrefix(a.header.Get("Location"), "/oauth2/login?") {
		t.Fatalf("a good request: %d %s", a.status, a.body)
	}
	for name, uri := range shown {
		a := ask(func(q url.Values) { q.Set("redirect_uri", uri) })
		if a.status != http.StatusBadRequest || a.header.Get("Location") != "" {
			t.Errorf("redirect URI by %s: %d to %s", name, a.status, a.header.Get("Location"))
		}
	}
	if a := ask(func(q url.Values) { q.Set("client_id", "ghost") }); a.status != http.StatusBadRequest {
		t.Errorf("unknown client: %d", a.status)
	}
	if a := ask(func(q url.Values) { q.Add("redirect_uri", "https://evil.example/") }); a.status != http.StatusBadRequest || a.header.Get("Location") != "" {
		t.Errorf("two redirect URIs: %d to %s", a.status, a.header.Get("Location"))
	}
	for name, c := range map[string]struct{ key, value, want string }{
		"no PKCE":          {"code_challenge", "", "invalid_request"},
		"plain PKCE":       {"code_challenge_method", "plain", "invalid_request"},
		"PKCE without S":   {"code_challenge_method", "", "invalid_request"},
		"short challenge":  {"code_challenge", "short", "invalid_request"},
		"wider scope":      {"scope", "read admin", "invalid_scope"},
		"implicit":         {"response_type", "token", "unauthorized_client"},
		"hybrid":           {"response_type", "code id_token", "unauthorized_client"},
		"fragment answer":  {"response_mode", "fragment", "invalid_request"},
		"form post answer": {"response_mode", "form_post", "invalid_request"},
		"request object":   {"request", "eyJhbGciOiJub25lIn0.e30.", "request_not_supported"},
		"silent":           {"prompt", "none", "login_required"},
		"huge state":       {"state", strings.Repeat("s", 2000), "invalid_request"},
	} {
		a := ask(func(q url.Values) { q.Set(c.key, c.value) })
		to, err := url.Parse(a.header.Get("Location"))
		if err == nil && c.value == "fragment" { // the error comes as it was asked for
			to.RawQuery = to.Fragment
		}
		if err != nil || a.status != http.StatusFound || to.Host != "app.example" || to.Query().Get("error") != c.want || to.Query().Get("code") != "" {
			t.Errorf("%s: %d to %s: %s, want %s", name, a.status, to, a.body, c.want)
		}
	}
}

// Attack: the login page in a frame, posted from elsewhere, or with text that
// is code.
func TestLoginPage(t *testing.T) {
	e := start(t)
	e.people()
	c := e.config()
	link := c.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()))
	asked := e.get(strings.TrimPrefix(link, e.url))
	page := e.get(asked.header.Get("Location"))
	policy := page.header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self' https://app.example"} {
		if !strings.Contains(policy, want) {
			t.Errorf("policy %q lacks %s", policy, want)
		}
	}
	if page.header.Get("X-Frame-Options") != "DENY" || page.header.Get("Cache-Control") != "no-store" || page.header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("header %v", page.header)
	}
	cookie := page.header.Get("Set-Cookie")
	if !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Strict") {
		t.Errorf("cookie %q", cookie)
	}
	request := strings.TrimPrefix(asked.header.Get("Location"), "/oauth2/login?request=")
	form := url.Values{"request": {request}, "name": {`"><script>alert(1)</script>`}, "secret": {secretOf("ann")}, "decision": {"allow"}, "csrf": {"x"}}
	post := func(change func(*http.Request)) *answer {
		r, err := http.NewRequest(http.MethodPost, e.url+"/oauth2/login", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.AddCookie(&http.Cookie{Name: "go-platform-login", Value: "x"})
		change(r)
		return e.do(r)
	}
	a := post(func(*http.Request) {})
	if a.status != http.StatusUnauthorized || strings.Contains(a.body, "<script>") {
		t.Errorf("script in the name: %d %s", a.status, a.body)
	}
	form.Set("name", "ann")
	for name, change := range map[string]func(*http.Request){
		"without cookie":    func(r *http.Request) { r.Header.Del("Cookie") },
		"another's cookie":  func(r *http.Request) { r.Header.Set("Cookie", "go-platform-login=y") },
		"from another site": func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"from an origin":    func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
		"forged request": func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader("request=e30.e30.e30&csrf=x"))
			r.ContentLength = -1
		},
	} {
		if a := post(change); a.status != http.StatusBadRequest && a.status != http.StatusForbidden || a.header.Get("Location") != "" {
			t.Errorf("posted %s: %d to %s", name, a.status, a.header.Get("Location"))
		}
	}
	form.Set("decision", "deny")
	if a := post(func(*http.Request) {}); !strings.Contains(a.header.Get("Location"), "error=access_denied") {
		t.Errorf("denied: %d to %s", a.status, a.header.Get("Location"))
	}
	form.Set("decision", "allow")
	form.Set("name", "orders")
	form.Set("secret", secretOf("orders"))
	if a := post(func(*http.Request) {}); a.status != http.StatusUnauthorized {
		t.Errorf("a service logs in: %d", a.status)
	}
}

func TestRefreshAttacks(t *testing.T) {
	e := start(t)
	e.people()
	token, err := e.redeem(e.given())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		client, token string
		scopes        []string
		want          string
	}{
		"cross-client":    {"orders", token.RefreshToken, nil, "invalid_grant"},
		"wider scope":     {"app", token.RefreshToken, []string{"read", "write"}, "invalid_scope"},
		"access token":    {"app", token.AccessToken, nil, "invalid_grant"},
		"guessed":         {"app", "AAAA", nil, "invalid_grant"},
		"malformed scope": {"app", token.RefreshToken, []string{`re"ad`}, "invalid_scope"},
	} {
		if _, err := e.refresh(c.client, c.token, c.scopes...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if _, err := e.refresh("app", token.RefreshToken); err != nil {
		t.Errorf("an attack ended the family: %v", err)
	}
	if _, err := e.account.Update(e.admin(), &pb.UpdateRequest{Account: &pb.Record{Id: "ann", Disabled: true}, Fields: []string{"disabled"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.refresh("app", token.RefreshToken); code(err) != 400 {
		t.Errorf("a disabled user's token is refreshed: %v", err)
	}
}

// Attack: what a client says of itself becomes identity.
func TestScopesAndMetadata(t *testing.T) {
	e := start(t)
	e.people()
	for _, scopes := range [][]string{{"admin"}, {"read", "admin"}, {"*"}, {"read admin"}, {"read\nadmin"}, {"openid"}} {
		_, err := e.oauth.Token(e.as(""), &pb.TokenRequest{GrantType: "client_credentials", ClientId: "ann", ClientSecret: secretOf("ann"), Scopes: scopes})
		if code(err) != 400 || !strings.Contains(err.Error(), "invalid_scope") {
			t.Errorf("scopes %q: %v", scopes, err)
		}
	}
	claim := map[string]string{"sub": "admin", "scope": "admin", "roles": "admin", "type": "service", "team": "south", "request.x": "y"}
	rsp, err := e.oauth.Token(e.as(""), &pb.TokenRequest{GrantType: "client_credentials", ClientId: "ann", ClientSecret: secretOf("ann"), Metadata: claim})
	if err != nil {
		t.Fatal(err)
	}
	p := payload(t, rsp.Token.AccessToken)
	if p["sub"] != "ann" || p["scope"] != "read write" || p["roles"].([]any)[0] != "buyer" || p["type"] != "user" || p["meta"].(map[string]any)["team"] != "north" {
		t.Errorf("claims %v", p)
	}
	if m := rsp.Token.Metadata; m["sub"] != "ann" || m["roles"] != "buyer" || m["team"] != "north" || m["request.sub"] != "admin" {
		t.Errorf("metadata %v", m)
	}
	if _, err := e.account.Search(e.as(rsp.Token.AccessToken), &pb.SearchRequest{}); code(err) != 403 {
		t.Errorf("let in as admin: %v", err)
	}
	over := e.post("/oauth2/token", url.Values{"grant_type": {"client_credentials"}, "metadata": {"x"}, "sub": {"admin"}, "roles": {"admin"}}, "ann", secretOf("ann"))
	if p := payload(t, over.text("access_token")); p["sub"] != "ann" || p["request"] != nil {
		t.Errorf("claims %v", p)
	}
}

// Attack: guessing. Neither the answer nor its shape tells whether a client
// exists, and soon there is none but 429.
func TestBruteForce(t *testing.T) {
	e := start(t)
	e.people()
	guess := func(id string) *answer {
		return e.post("/oauth2/token", url.Values{"grant_type": {"client_credentials"}}, id, "wrong")
	}
	known, unknown := guess("ann"), guess("ghost")
	if known.status != 401 || known.body != unknown.body || known.status != unknown.status || known.header.Get("WWW-Authenticate") == "" {
		t.Errorf("enumeration: %d %s against %d %s", known.status, known.body, unknown.status, unknown.body)
	}
	for _, id := range []string{"ann", "ghost"} {
		limited := 0
		for range 20 {
			if a := guess(id); a.status == http.StatusTooManyRequests {
				limited++
			}
		}
		if limited < 10 {
			t.Errorf("%s: only %d of 20 guesses were refused", id, limited)
		}
	}
	a := e.post("/oauth2/token", url.Values{"grant_type": {"client_credentials"}}, "ann", secretOf("ann"))
	if a.status != http.StatusTooManyRequests {
		t.Errorf("the right secret in the middle of guesses: %d", a.status)
	}
	_, err := e.oauth.Token(e.as(""), &pb.TokenRequest{GrantType: "client_credentials", ClientId: "ann", ClientSecret: "wrong"})
	if code(err) != 429 {
		t.Errorf("over RPC: %v", err)
	}
	// Nobody can guess the bootstrap secret, and trying locks nobody out.
	for range 200 {
		if _, err = e.account.Enrol(e.as(""), &pb.EnrolRequest{Id: "go.micro.srv.trace", Secret: "wrong"}); code(err) != 401 {
			t.Fatalf("guessing the bootstrap secret: %v", err)
		}
	}
	if _, err = e.account.Enrol(e.as(""), &pb.EnrolRequest{Id: "go.micro.srv.trace", Secret: bootstrap}); err != nil {
		t.Errorf("enrolling after others guessed: %v", err)
	}
	e.token("app", secretOf("app")) // others go on
}

// Attack: secrets that only differ beyond what bcrypt would look at.
func TestLongSecrets(t *testing.T) {
	e := start(t)
	long := strings.Repeat("x", 1000)
	e.create(&pb.Record{Id: "long", Type: "user", ClientSecret: long + "a"})
	e.token("long", long+"a")
	for _, wrong := range []string{long + "b", long, long[:72], long + "a\x00", long + "ab"} {
		if a := e.post("/oauth2/token", url.Values{"grant_type": {"client_credentials"}}, "long", wrong); a.status != 401 {
			t.Errorf("%d bytes: %d", len(wrong), a.status)
		}
	}
}

func TestHTTPBounds(t *testing.T) {
	e := start(t)
	e.people()
	form := "grant_type=client_credentials"
	request := func(method, path, kind, body string) *answer {
		r, err := http.NewRequest(method, e.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", kind)
		r.SetBasicAuth("ann", url.QueryEscape(secretOf("ann")))
		return e.do(r)
	}
	const urlencoded = "application/x-www-form-urlencoded"
	if a := request("POST", "/oauth2/token", urlencoded, form); a.status != 200 {
		t.Fatalf("a good request: %d %s", a.status, a.body)
	}
	for name, c := range map[string]struct {
		method, path, kind, body string
		want                     int
	}{
		"secrets in the URL":   {"GET", "/oauth2/token?" + form, urlencoded, "", 405},
		"query beside body":    {"POST", "/oauth2/token?client_id=x", urlencoded, form, 400},
		"JSON":                 {"POST", "/oauth2/token", "application/json", `{"grant_type":"client_credentials"}`, 400},
		"multipart":            {"POST", "/oauth2/token", "multipart/form-data; boundary=x", form, 400},
		"repeated parameter":   {"POST", "/oauth2/token", urlencoded, form + "&scope=read&scope=admin", 400},
		"two authentications":  {"POST", "/oauth2/token", urlencoded, form + "&client_id=ann&client_secret=x", 400},
		"100 KB":               {"POST", "/oauth2/token", urlencoded, form + "&x=" + strings.Repeat("x", 100<<10), 400},
		"login by query":       {"POST", "/oauth2/login?decision=allow", urlencoded, "", 400},
		"unknown path":         {"GET", "/admin", urlencoded, "", 404},
		"introspect by GET":    {"GET", "/oauth2/introspect?token=x", urlencoded, "", 405},
		"introspect no secret": {"POST", "/oauth2/introspect", urlencoded, "", 400},
	} {
		if a := request(c.method, c.path, c.kind, c.body); a.status != c.want {
			t.Errorf("%s: %d %s, want %d", name, a.status, a.body, c.want)
		}
	}
}

// Attack: a request that never ends.
func TestSlowReads(t *testing.T) {
	e := start(t, func(c *authsrv.Config, _ *daemon.Config) { authsrv.ReadTimeout(c, 200*time.Millisecond) })
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\ngrant")
	if err := conn.SetReadDeadline(time.Now().Add(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("still open: %v", err)
	}
}

// introspects checks what who learns of a token that ann gave to app: all of
// it, or only that it is not active.
func (e *env) introspects(token, who string, all bool) {
	e.Helper()
	rsp, err := e.oauth.Introspect(e.as(e.token(who, secretOf(who))), &pb.IntrospectRequest{AccessToken: token})
	if err != nil || rsp.Active != all {
		e.Errorf("%s over RPC: %v %v", who, rsp, err)
	}
	a := e.post("/oauth2/introspect", url.Values{"token": {token}}, who, secretOf(who))
	if a.status != 200 || a.json["active"] != all || all && (a.text("sub") != "ann" || a.text("client_id") != "app" || a.text("scope") != "read") || !all && len(a.json) != 1 {
		e.Errorf("%s over HTTP: %d %s", who, a.status, a.body)
	}
}

func TestIntrospectionAndRevocation(t *testing.T) {
	e := start(t)
	e.people()
	e.create(&pb.Record{Id: "gate", Type: "service", Scopes: []string{authsrv.ScopeIntrospect}})
	token, err := e.redeem(e.given())
	if err != nil {
		t.Fatal(err)
	}
	for who, want := range map[string]bool{"ann": true, "app": true, "gate": true, "orders": false} {
		e.introspects(token.AccessToken, who, want)
	}
	if a := e.post("/oauth2/introspect", url.Values{"token": {token.AccessToken}}, "gate", "wrong"); a.status != 401 {
		t.Errorf("introspection with a wrong secret: %d", a.status)
	}
	// Attack: ending another's tokens.
	if a := e.post("/oauth2/revoke", url.Values{"token": {token.RefreshToken}}, "orders", secretOf("orders")); a.status != 400 {
		t.Errorf("another's refresh token over HTTP: %d", a.status)
	}
	for _, r := range []*pb.RevokeRequest{{AccessToken: token.AccessToken}, {RefreshToken: token.RefreshToken}} {
		if _, err := e.oauth.Revoke(e.as(e.token("gate", secretOf("gate"))), r); code(err) != 403 {
			t.Errorf("another's token over RPC: %v", err)
		}
	}
	if _, err := e.oauth.Revoke(e.admin(), &pb.RevokeRequest{}); code(err) != 400 {
		t.Errorf("nothing to revoke: %v", err)
	}
	if !e.active(token.AccessToken) {
		t.Fatal("was revoked")
	}
	if a := e.post("/oauth2/revoke", url.Values{"token": {token.RefreshToken}}, "app", secretOf("app")); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if e.active(token.AccessToken) {
		t.Error("the family lives on")
	}
	for _, unknown := range []string{"x", token.RefreshToken, token.AccessToken} { // RFC 7009, section 2.2
		if a := e.post("/oauth2/revoke", url.Values{"token": {unknown}}, "app", secretOf("app")); a.status != 200 {
			t.Errorf("again: %d %s", a.status, a.body)
		}
	}
	own := e.token("orders", secretOf("orders"))
	if _, err := e.oauth.Revoke(e.as(own), &pb.RevokeRequest{AccessToken: own}); err != nil {
		t.Error(err)
	}
	if _, err := e.policy.Search(e.as(own), &pb.PolicySearchRequest{}); code(err) != 401 {
		t.Errorf("a revoked token is let in: %v", err)
	}
}

// Attack: reading the logs and the answers for secrets.
func TestNoSecretsInLogs(t *testing.T) {
	var out rpctest.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	old := slog.Default()
	slog.SetDefault(log)
	defer slog.SetDefault(old)
	n := rpctest.New(t)
	n.Logger = log
	e := startOn(t, n)
	e.people()
	given, verifier := e.given()
	token, err := e.redeem(given, verifier)
	if err != nil {
		t.Fatal(err)
	}
	wrong := "a wrong secret which is the right one elsewhere"
	var answers strings.Builder
	for _, err := range []error{
		second(e.oauth.Token(e.as(""), &pb.TokenRequest{GrantType: "client_credentials", ClientId: "ann", ClientSecret: wrong})),
		second(e.redeem(given, verifier)),
		second(e.refresh("orders", token.RefreshToken)),
		second(e.policy.Search(e.as(token.AccessToken+"x"), &pb.PolicySearchRequest{})),
		second(e.account.Enrol(e.as(""), &pb.EnrolRequest{Id: "go.micro.srv.trace", Secret: wrong})),
	} {
		fmt.Fprintln(&answers, err)
	}
	for what, secret := range map[string]string{
		"admin": adminSecret, "client": secretOf("ann"), "wrong": wrong, "code": given, "verifier": verifier,
		"access token": token.AccessToken, "refresh token": token.RefreshToken, "bootstrap": bootstrap,
	} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%s secret in the log", what)
		}
		if strings.Contains(answers.String(), secret) {
			t.Errorf("%s secret in an error", what)
		}
	}
}
