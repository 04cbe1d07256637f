package oauth2_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v6/metadata"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/authtest"
	authsrv "github.com/micro/go-platform/auth/internal/srv"
	"github.com/micro/go-platform/auth/oauth2"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

const adminSecret = "the secret of the administrator"

// real is the HTTP face of a real auth-srv.
type real struct {
	t        testing.TB
	url      string
	accounts pb.AccountService
	oauth    pb.Oauth2Service
	admin    context.Context
}

func newReal(t testing.TB) *real {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	network := rpctest.New(t)
	network.Boot(authsrv.New(authsrv.Config{HTTP: l, AdminSecret: adminSecret, Announce: io.Discard}))
	c := network.Client(rpctest.GRPC)
	return &real{t: t, url: "http://" + l.Addr().String(), accounts: pb.NewAccountService(auth.ServiceName, c), oauth: pb.NewOauth2Service(auth.ServiceName, c)}
}

func (r *real) token(id, secret, audience string, scopes ...string) string {
	r.t.Helper()
	rsp, err := r.oauth.Token(context.Background(), &pb.TokenRequest{GrantType: "client_credentials", ClientId: id, ClientSecret: secret, Scopes: scopes, Audience: []string{audience}})
	if err != nil {
		r.t.Fatal(err)
	}
	return rsp.Token.AccessToken
}

// account makes an account, if it is new, and returns a token of it.
func (r *real) account(id, audience string, scopes ...string) string {
	r.t.Helper()
	if r.admin == nil {
		r.admin = metadata.NewContext(context.Background(), metadata.Metadata{"authorization": "Bearer " + r.token("admin", adminSecret, auth.ServiceName)})
	}
	_, err := r.accounts.Create(r.admin, &pb.CreateRequest{Account: &pb.Record{Id: id, Type: "service", ClientId: id, ClientSecret: id + " secret", Scopes: scopes}})
	if err != nil && call.Code(err) != 409 {
		r.t.Fatal(err)
	}
	return r.token(id, id+" secret", audience, scopes...)
}

func fixture(more ...auth.Option) func(t testing.TB, opts ...auth.Option) *authtest.Fixture {
	return func(t testing.TB, opts ...auth.Option) *authtest.Fixture {
		r := newReal(t)
		r.account(authtest.Service, auth.ServiceName, "admin")
		a := oauth2.NewAuth(slices.Concat([]auth.Option{
			auth.Issuer(r.url), auth.Audience(authtest.Service), auth.Id(authtest.Service), auth.Secret(authtest.Service + " secret"),
			auth.Logger(slog.New(slog.DiscardHandler)), oauth2.HTTPClient(client(t)),
		}, more, opts)...)
		return &authtest.Fixture{
			Auth: a, Own: authtest.Service,
			Token: func(_ testing.TB, account string, scopes ...string) string {
				return r.account(account, authtest.Service, scopes...)
			},
			TokenFor: func(_ testing.TB, account, audience string) string { return r.account(account, audience) },
		}
	}
}

// client is one whose connections end with the test.
func client(t testing.TB) *http.Client {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 5 * time.Second}
}

func TestOverAuthSrv(t *testing.T) {
	one := oauth2.Param("resource", authtest.Service) // the suite calls itself alone
	t.Run("keys", func(t *testing.T) { authtest.Run(t, fixture(one)) })
	t.Run("introspection", func(t *testing.T) { authtest.Run(t, fixture(one, oauth2.Introspection(time.Second))) })
}

func TestOverAuthSrvPerService(t *testing.T) {
	each := oauth2.Resource("resource", func(audience string) string { return audience })
	t.Run("suite", func(t *testing.T) { authtest.Run(t, fixture(each)) })
	t.Run("keys", func(t *testing.T) { authtest.RunAudience(t, fixture(each)) })
	t.Run("introspection", func(t *testing.T) { authtest.RunAudience(t, fixture(each, oauth2.Introspection(time.Second))) })
}

// idp is a provider that does as it is told.
type idp struct {
	*httptest.Server
	issuer *authtest.Issuer
	meta   map[string]any
	active atomic.Bool
	down   atomic.Bool
	keys   atomic.Int32 // how often they were read
	asked  atomic.Int32
	// says is what the provider answers when it is asked about a token; nil: what
	// it says of the token "opaque".
	says func(token string) map[string]any
	slow atomic.Pointer[chan struct{}] // what introspection and metadata wait for
}

// hang makes the provider answer nothing until the returned function is called,
// or the test ends.
func (p *idp) hang(t *testing.T) (end func()) {
	until := make(chan struct{})
	p.slow.Store(&until)
	end = sync.OnceFunc(func() { p.slow.Store(nil); close(until) })
	t.Cleanup(end)
	return end
}

func (p *idp) wait(r *http.Request) {
	if until := p.slow.Load(); until != nil {
		select {
		case <-*until:
		case <-r.Context().Done():
		}
	}
}

func newIDP(t *testing.T) *idp {
	t.Helper()
	p := &idp{issuer: authtest.NewIssuer(t)}
	p.active.Store(true)
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) } // the client may be gone
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) { p.wait(r); answer(w, p.meta) })
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) { p.keys.Add(1); _, _ = w.Write(p.issuer.Keys()) }) // the client may be gone
	mux.HandleFunc("/introspect", func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		if id, secret, _ := r.BasicAuth(); id != "svc" || secret != "s3cret" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		token := r.FormValue("token")
		p.wait(r)
		if p.says != nil {
			answer(w, p.says(token))
			return
		}
		answer(w, map[string]any{"active": p.active.Load() && token == "opaque", "sub": "ann", "scope": "read write", "exp": time.Now().Unix() + 60, "client_id": "app"})
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		answer(w, map[string]any{"error": "invalid_client", "error_description": "s3cret repeated"})
	})
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.down.Load() {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	p.meta = map[string]any{
		"issuer": p.URL, "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys", "introspection_endpoint": p.URL + "/introspect",
		"id_token_signing_alg_values_supported": []string{"EdDSA"},
	}
	return p
}

func (p *idp) auth(t *testing.T, opts ...auth.Option) *oauth2.Auth {
	t.Helper()
	a := oauth2.NewAuth(append([]auth.Option{
		auth.Issuer(p.URL), auth.Audience("api"), auth.Id("svc"), auth.Secret("s3cret"), auth.Logger(slog.New(slog.DiscardHandler)), oauth2.HTTPClient(client(t)),
	}, opts...)...)
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func (p *idp) token(change map[string]any) string {
	c := p.issuer.Claims("ann", map[string]any{"iss": p.URL, "aud": "api"})
	for k, v := range change {
		c[k] = v
	}
	return p.issuer.Sign(nil, c)
}

type request struct{}

func (request) Service() string { return "svc" }
func (request) Method() string  { return "Svc.Call" }

func TestForeignTokens(t *testing.T) {
	p := newIDP(t)
	a := p.auth(t)
	jwtTyped := p.auth(t, oauth2.Types("JWT"))
	typed := func(change map[string]any) string {
		c := p.issuer.Claims("ann", map[string]any{"iss": p.URL, "aud": "api", "jti": nil, "client_id": nil, "azp": "app", "scope": "read"})
		for k, v := range change {
			if c[k] = v; v == nil {
				delete(c, k)
			}
		}
		return p.issuer.Sign(map[string]any{"typ": "JWT"}, c)
	}
	es := p.issuer.SignES256(p.issuer.Claims("ann", map[string]any{"iss": p.URL, "aud": "api"}))
	for name, c := range map[string]struct {
		a     *oauth2.Auth
		token string
		ok    bool
	}{
		"RFC 9068":                        {a, p.token(nil), true},
		"roles of another shape":          {a, p.token(map[string]any{"roles": map[string]any{"x": 1}}), true},
		"wrong aud":                       {a, p.token(map[string]any{"aud": "other"}), false},
		"wrong iss":                       {a, p.token(map[string]any{"iss": "https://other.example"}), false},
		"expired":                         {a, p.token(map[string]any{"exp": time.Now().Unix() - 61}), false},
		"alg that is not announced":       {a, es, false},
		"typ JWT, not told to":            {a, typed(nil), false},
		"typ JWT, told to":                {jwtTyped, typed(nil), true},
		"typ JWT, scp of another shape":   {jwtTyped, typed(map[string]any{"scope": nil, "scp": []string{"read"}}), true},
		"typ JWT, client_id":              {jwtTyped, typed(map[string]any{"scope": nil, "client_id": "app"}), true},
		"typ JWT, kind Bearer":            {jwtTyped, typed(map[string]any{"scope": nil, "typ": "Bearer"}), true},
		"id token of the barest kind":     {jwtTyped, typed(map[string]any{"scope": nil}), false},
		"id token: empty scope":           {jwtTyped, typed(map[string]any{"scope": ""}), false},
		"id token: kind ID":               {jwtTyped, typed(map[string]any{"typ": "ID"}), false},
		"id token: token_use":             {jwtTyped, typed(map[string]any{"token_use": "id"}), false},
		"id token: roles":                 {jwtTyped, typed(map[string]any{"scope": nil, "roles": []string{"admin"}}), false},
		"id token: nonce":                 {jwtTyped, typed(map[string]any{"nonce": "n"}), false},
		"id token: at_hash":               {jwtTyped, typed(map[string]any{"at_hash": "h"}), false},
		"refresh token of the same shape": {jwtTyped, typed(map[string]any{"typ": "Refresh"}), false},
		"opaque":                          {a, "opaque", false},
	} {
		if _, err := c.a.Verify(t.Context(), c.token, request{}); (err == nil) != c.ok || err != nil && !errors.Is(err, auth.ErrInvalidToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, err := a.Verify(t.Context(), p.token(map[string]any{"scp": []string{"a", "b"}, "roles": "x y"}), request{})
	if err != nil || len(got.Scopes) != 2 || got.Metadata["roles"] != "x y" || got.Account() != "ann" {
		t.Errorf("%+v %v", got, err)
	}
}

func TestRotationAndFloodOfUnknownKeys(t *testing.T) {
	p := newIDP(t)
	a := p.auth(t)
	old := p.token(nil)
	if _, err := a.Verify(t.Context(), old, request{}); err != nil {
		t.Fatal(err)
	}
	p.issuer.Rotate(true)
	fresh := p.token(nil)
	for range 1000 {
		if _, err := a.Verify(t.Context(), fresh, request{}); !errors.Is(err, auth.ErrInvalidToken) && p.keys.Load() < 2 {
			t.Fatalf("a key that is not known yet: %v", err)
		}
	}
	if n := p.keys.Load(); n > 2 {
		t.Errorf("keys were read %d times", n)
	}
	rpctest.Eventually(t, "the keys are read again", func() bool { return p.keys.Load() == 2 })
}

func TestProviderDead(t *testing.T) {
	p := newIDP(t)
	a := p.auth(t)
	seen, unseen := p.token(nil), p.token(nil)
	if _, err := a.Verify(t.Context(), seen, request{}); err != nil {
		t.Fatal(err)
	}
	p.down.Store(true)
	for _, token := range []string{seen, unseen} {
		if _, err := a.Verify(t.Context(), token, request{}); err != nil {
			t.Error(err)
		}
	}
	late := p.auth(t)
	if _, err := late.Verify(t.Context(), seen, request{}); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("nothing known: %v", err)
	}
	p.down.Store(false)
	rpctest.Eventually(t, "it heals", func() bool { _, err := late.Verify(t.Context(), seen, request{}); return err == nil })
}

func TestOpaqueTokensByIntrospection(t *testing.T) {
	p := newIDP(t)
	a := p.auth(t, oauth2.Introspection(time.Second))
	for range 100 {
		got, err := a.Verify(t.Context(), "opaque", request{})
		if err != nil || got.Account() != "ann" || len(got.Scopes) != 2 {
			t.Fatalf("%+v %v", got, err)
		}
	}
	if n := p.asked.Load(); n > 2 {
		t.Errorf("asked %d times", n)
	}
	if _, err := a.Verify(t.Context(), "other", request{}); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("unknown: %v", err)
	}
	p.down.Store(true)
	begun := time.Now()
	rpctest.Eventually(t, "the answer is old", func() bool { return time.Since(begun) > 1100*time.Millisecond })
	if _, err := a.Verify(t.Context(), "opaque", request{}); err != nil {
		t.Errorf("known, provider dead: %v", err)
	}
	if _, err := a.Verify(t.Context(), "other", request{}); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("unknown, provider dead: %v", err)
	}
	p.down.Store(false)
	p.active.Store(false)
	rpctest.Eventually(t, "it is revoked", func() bool {
		_, err := a.Verify(t.Context(), "opaque", request{})
		return errors.Is(err, auth.ErrInvalidToken)
	})
}

func TestErrorsHoldNoSecret(t *testing.T) {
	p := newIDP(t)
	a := p.auth(t)
	_, err := a.Token()
	if !errors.Is(err, auth.ErrInvalidToken) || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "invalid_client") {
		t.Errorf("got %v", err)
	}
}

func TestMetadataOfAnother(t *testing.T) {
	p := newIDP(t)
	for name, change := range map[string]map[string]any{
		"issuer": {"issuer": "https://other.example"}, "endpoint by file": {"jwks_uri": "file:///etc/passwd"}, "no keys": {"jwks_uri": ""},
	} {
		old := map[string]any{}
		for k, v := range change {
			old[k], p.meta[k] = p.meta[k], v
		}
		a := oauth2.NewAuth(auth.Issuer(p.URL), auth.Audience("api"), auth.Service("svc"), auth.Logger(slog.New(slog.DiscardHandler)), oauth2.HTTPClient(client(t)))
		if err := a.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Verify(t.Context(), p.token(nil), request{}); err == nil || !strings.Contains(err.Error(), "metadata") {
			t.Errorf("%s: %v", name, err)
		}
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
		for k, v := range old {
			p.meta[k] = v
		}
	}
}

func TestOptionsAreNamed(t *testing.T) {
	made := func(opts ...auth.Option) *oauth2.Auth {
		return oauth2.NewAuth(append([]auth.Option{auth.Issuer("https://auth.example"), auth.Audience("api")}, opts...)...)
	}
	for option, a := range map[string]*oauth2.Auth{
		"Issuer":        made(auth.Service("s"), auth.Issuer("auth.example")),
		"Audience":      made(auth.Service("s"), auth.Audience("")),
		"Secret":        made(auth.Id("s")),
		"Service":       made(),
		"Algorithms":    made(auth.Service("s"), oauth2.Algorithms("HS256")),
		"Types":         made(auth.Service("s"), oauth2.Types()),
		"Introspection": made(auth.Service("s"), oauth2.Introspection(time.Second)),
		"Rules":         made(auth.Service("s"), oauth2.Rules(auth.Rule{Id: "x"})),
	} {
		if err := a.Start(); !errors.Is(err, auth.ErrInvalid) || !strings.Contains(err.Error(), "option "+option) {
			t.Errorf("%s: %v", option, err)
		}
		_ = a.Stop() // it did not start
	}
}

func TestRules(t *testing.T) {
	p := newIDP(t)
	a := p.auth(t, oauth2.Rules(auth.Rule{Id: "not-ann", Effect: "deny", Accounts: []string{"ann"}}))
	if _, err := a.Verify(t.Context(), p.token(nil), request{}); !errors.Is(err, auth.ErrForbidden) || !strings.Contains(err.Error(), "not-ann") {
		t.Errorf("got %v", err)
	}
}
