// Package oidc_test has auth/oauth2 work with a provider that is not ours: one
// made of ory/fosite.
package oidc_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	foauth2 "github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/storage"
	"github.com/ory/fosite/token/jwt"
	"go.uber.org/goleak"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/authtest"
	"github.com/micro/go-platform/auth/oauth2"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) {
	rpctest.Main(m, goleak.IgnoreTopFunction("github.com/dgraph-io/ristretto.(*Cache).processItems"))
}

// provider serves what a resource server needs, by fosite.
type provider struct {
	*httptest.Server
	key    *rsa.PrivateKey
	store  *storage.MemoryStore
	oauth  fosite.OAuth2Provider
	secret []byte // hashed
	jwt    bool
}

func newProvider(t testing.TB, signed bool) *provider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{key: key, store: storage.NewMemoryStore(), jwt: signed}
	mux := http.NewServeMux()
	var one sync.Mutex // fosite's store in memory has data races
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		one.Lock()
		defer one.Unlock()
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	config := &fosite.Config{
		AccessTokenLifespan: 10 * time.Minute, GlobalSecret: []byte("thirty-two bytes of a test secret"),
		AccessTokenIssuer: p.URL, JWTScopeClaimKey: jwt.JWTScopeFieldString, HashCost: 4,
	}
	if p.secret, err = (&fosite.BCrypt{Config: config}).Hash(context.Background(), []byte("secret")); err != nil {
		t.Fatal(err)
	}
	// Before anybody asks: fosite's store is not to be changed while it serves.
	for _, id := range []string{"", ".good", ".ready", ".bad", ".revoked", ".spared", ".seen", ".chosen", ".many", ".first", ".late", ".ended"} {
		p.client(authtest.Service + id)
	}
	var strategy foauth2.CoreStrategy = compose.NewOAuth2HMACStrategy(config)
	if signed {
		strategy = compose.NewOAuth2JWTStrategy(func(context.Context) (any, error) {
			return &jose.JSONWebKey{Key: key, KeyID: "fosite-1", Algorithm: "RS256", Use: "sig"}, nil
		}, compose.NewOAuth2HMACStrategy(config), config)
	}
	p.oauth = compose.Compose(config, p.store, &compose.CommonStrategy{CoreStrategy: strategy},
		compose.OAuth2ClientCredentialsGrantFactory, compose.OAuth2TokenIntrospectionFactory, compose.OAuth2TokenRevocationFactory)
	mux.HandleFunc("/.well-known/openid-configuration", p.metadata)
	mux.HandleFunc("/keys", p.keys)
	mux.HandleFunc("/token", p.token)
	mux.HandleFunc("/introspect", p.introspect)
	mux.HandleFunc("/revoke", p.revoke)
	return p
}

func (p *provider) client(id string) {
	p.store.Clients[id] = &fosite.DefaultClient{
		ID: id, Secret: p.secret, GrantTypes: []string{"client_credentials"}, Scopes: []string{"read", "write"}, Audience: []string{"api"},
	}
}

func (p *provider) metadata(w http.ResponseWriter, _ *http.Request) {
	// The client may be gone, here and below.
	_ = json.NewEncoder(w).Encode(map[string]any{
		"issuer": p.URL, "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
		"introspection_endpoint": p.URL + "/introspect", "revocation_endpoint": p.URL + "/revoke",
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

func (p *provider) keys(w http.ResponseWriter, _ *http.Request) {
	_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &p.key.PublicKey, KeyID: "fosite-1", Algorithm: "RS256", Use: "sig"}}}) // as above
}

func (p *provider) session() *foauth2.JWTSession {
	return &foauth2.JWTSession{JWTClaims: &jwt.JWTClaims{}, JWTHeader: &jwt.Headers{Extra: map[string]any{}}}
}

func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	ctx, session := r.Context(), p.session()
	req, err := p.oauth.NewAccessRequest(ctx, r, session)
	if err != nil {
		p.oauth.WriteAccessError(ctx, w, req, err)
		return
	}
	id := req.GetClient().GetID()
	session.Subject, session.JWTClaims.Subject = id, id
	session.JWTClaims.Extra = map[string]any{"client_id": id}
	for _, scope := range req.GetRequestedScopes() {
		req.GrantScope(scope)
	}
	req.GrantAudience("api")
	rsp, err := p.oauth.NewAccessResponse(ctx, req)
	if err != nil {
		p.oauth.WriteAccessError(ctx, w, req, err)
		return
	}
	p.oauth.WriteAccessResponse(ctx, w, req, rsp)
}

func (p *provider) introspect(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	rsp, err := p.oauth.NewIntrospectionRequest(ctx, r, p.session())
	if err != nil {
		p.oauth.WriteIntrospectionError(ctx, w, err)
		return
	}
	p.oauth.WriteIntrospectionResponse(ctx, w, rsp)
}

func (p *provider) revoke(w http.ResponseWriter, r *http.Request) {
	p.oauth.WriteRevocationResponse(r.Context(), w, p.oauth.NewRevocationRequest(r.Context(), r))
}

// issue gets a token of another client as its program would.
func (p *provider) issue(t testing.TB, id string, scopes ...string) string {
	t.Helper()
	a := p.auth(t, id, auth.Scopes(scopes...))
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Stop() }() // the test is over
	token, err := a.Token()
	if err != nil {
		t.Fatal(err)
	}
	return token.AccessToken
}

func (p *provider) auth(t testing.TB, id string, opts ...auth.Option) *oauth2.Auth {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return oauth2.NewAuth(append([]auth.Option{
		auth.Issuer(p.URL), auth.Audience("api"), auth.Id(id), auth.Secret("secret"), oauth2.Types("JWT"), auth.Logger(slog.New(slog.DiscardHandler)),
		oauth2.HTTPClient(&http.Client{Transport: tr, Timeout: 5 * time.Second}), auth.Service(authtest.Service),
	}, opts...)...)
}

func fixture(signed bool, more ...auth.Option) func(t testing.TB, opts ...auth.Option) *authtest.Fixture {
	return func(t testing.TB, opts ...auth.Option) *authtest.Fixture {
		p := newProvider(t, signed)
		return &authtest.Fixture{Auth: p.auth(t, authtest.Service, append(more, opts...)...), Own: authtest.Service, Token: p.issue}
	}
}

func TestFositeSignedTokens(t *testing.T) { authtest.Run(t, fixture(true)) }

func TestFositeOpaqueTokens(t *testing.T) {
	authtest.Run(t, fixture(false, oauth2.Introspection(time.Second)))
}

// What fosite says of another client's secret comes back as a sentinel.
func TestFositeWrongSecret(t *testing.T) {
	p := newProvider(t, true)
	a := p.auth(t, authtest.Service, auth.Secret("wrong"))
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Stop() }() // the test is over
	if _, err := a.Token(); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("got %v", err)
	}
}
