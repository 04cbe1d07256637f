package srv

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/micro/go-platform/internal/rpcerr"
)

// provider is the OAuth 2.0 server: what zitadel/oidc asks for once it has
// parsed and checked a request. RPC requests take the same way.
type provider struct {
	op.UnimplementedServer
	settings *settings
	store    Store
	clients  *clients
	feed     *feed
}

// How long a code waits, and how long an old refresh token may be presented
// again by those who raced for the new one.
const (
	codeTTL      = time.Minute
	refreshGrace = 10 * time.Second
)

// The paths of the HTTP face.
const (
	pathAuthorize  = "/oauth2/authorize"
	pathLogin      = "/oauth2/login"
	pathToken      = "/oauth2/token"
	pathIntrospect = "/oauth2/introspect"
	pathRevoke     = "/oauth2/revoke"
	pathKeys       = "/oauth2/jwks"
	pathOAuthMeta  = "/.well-known/oauth-authorization-server"
)

func endpoints() op.Endpoints {
	return op.Endpoints{
		Authorization: op.NewEndpoint(pathAuthorize),
		Token:         op.NewEndpoint(pathToken),
		Introspection: op.NewEndpoint(pathIntrospect),
		Revocation:    op.NewEndpoint(pathRevoke),
		JwksURI:       op.NewEndpoint(pathKeys),
	}
}

// caller is what is known of a request beside what it says.
type caller struct {
	peer string            // address without port
	meta map[string]string // TokenRequest.metadata
	user *claims           // of the token that came with an RPC
	at   time.Time         // when the request arrived
}

type callerKey struct{}

func withCaller(ctx context.Context, c caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller) // the zero caller is nobody
	return c
}

// oauthError turns what went wrong into an OAuth error. Nothing of an error
// that is ours is shown.
func oauthError(err error) error {
	var own *oidc.Error
	var status op.StatusError
	switch {
	case err == nil || errors.As(err, &status) || errors.As(err, &own):
		return err
	case errors.Is(err, rpcerr.ErrUnauthenticated):
		return op.NewStatusError(oidc.ErrInvalidClient().WithDescription("unknown client or wrong secret"), http.StatusUnauthorized)
	case errors.Is(err, rpcerr.ErrLimited):
		return op.NewStatusError(&oidc.Error{ErrorType: "temporarily_unavailable", Description: "too many wrong secrets or too much to do, try again later"}, http.StatusTooManyRequests)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return op.NewStatusError(&oidc.Error{ErrorType: "temporarily_unavailable", Description: "out of time"}, http.StatusServiceUnavailable)
	case errors.Is(err, rpcerr.ErrInvalid):
		return oidc.ErrInvalidRequest().WithDescription("%s", err.Error())
	}
	return op.NewStatusError(oidc.ErrServerError().WithDescription("internal error"), http.StatusInternalServerError)
}

// fail is oauthError for what the log should tell of.
func (p *provider) fail(doing string, err error) error {
	shown := oauthError(err)
	var status op.StatusError
	if errors.As(shown, &status) && errors.Is(shown, op.NewStatusError(oidc.ErrServerError(), http.StatusInternalServerError)) {
		p.feed.log.Error("cannot "+doing, "error", err)
	}
	return shown
}

func badGrant(format string, args ...any) error {
	return oidc.ErrInvalidGrant().WithDescription(format, args...)
}

// client is an account as the library knows it.
type client struct{ *account }

func (c client) GetID() string                       { return c.clientID }
func (c client) RedirectURIs() []string              { return c.redirects }
func (c client) PostLogoutRedirectURIs() []string    { return nil }
func (c client) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }
func (c client) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethodBasic }
func (c client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c client) GrantTypes() []oidc.GrantType         { return grantTypes() }
func (c client) LoginURL(string) string               { return pathLogin }
func (c client) AccessTokenType() op.AccessTokenType  { return op.AccessTokenTypeJWT }
func (c client) IDTokenLifetime() time.Duration       { return 0 }
func (c client) DevMode() bool                        { return false }
func (c client) IDTokenUserinfoClaimsAssertion() bool { return false }
func (c client) ClockSkew() time.Duration             { return 0 }

// IsScopeAllowed leaves no scope out: what is not allowed is an error later on.
func (c client) IsScopeAllowed(string) bool { return true }

// RestrictAdditionalIdTokenScopes implements op.Client.
func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return slices.Clone[[]string]
}

// RestrictAdditionalAccessTokenScopes implements op.Client.
func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return slices.Clone[[]string]
}

func grantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeClientCredentials, oidc.GrantTypeRefreshToken, oidc.GrantTypeTokenExchange}
}

// VerifyClient implements op.Server: by secret, and nothing else.
func (p *provider) VerifyClient(ctx context.Context, r *op.Request[op.ClientCredentials]) (op.Client, error) {
	a, err := p.clients.check(ctx, callerOf(ctx).peer, r.Data.ClientID, r.Data.ClientSecret)
	if err != nil {
		return nil, p.fail("check a client", err)
	}
	return client{a}, nil
}

// accountOf returns the account behind a client of VerifyClient.
func accountOf(c op.Client) *account { return c.(client).account }

// grantable returns the scopes to give: those asked for, which must be within
// all limits, or what the limits share.
func grantable(asked []string, limits ...[]string) ([]string, error) {
	within := func(s string) bool {
		return !slices.ContainsFunc(limits, func(l []string) bool { return !slices.Contains(l, s) })
	}
	if len(asked) == 0 {
		return slices.DeleteFunc(slices.Clone(limits[0]), func(s string) bool { return !within(s) }), nil
	}
	if err := checkNames("scope", asked); err != nil {
		return nil, oidc.ErrInvalidScope().WithDescription("malformed")
	}
	for _, s := range asked {
		if !within(s) {
			return nil, oidc.ErrInvalidScope().WithDescription("%q may not be given", s)
		}
	}
	return asked, nil
}

// Keys implements op.Server.
func (p *provider) Keys(context.Context, *op.Request[struct{}]) (*op.Response, error) {
	r := op.NewResponse(rawJSON(p.feed.now.Load().keys.jwks))
	r.Header.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(min(p.feed.rotation.lead()/2, 5*time.Minute).Seconds())))
	return r, nil
}

type rawJSON []byte

// MarshalJSON implements json.Marshaler.
func (r rawJSON) MarshalJSON() ([]byte, error) { return r, nil }

// Discovery implements op.Server.
func (p *provider) Discovery(context.Context, *op.Request[struct{}]) (*op.Response, error) {
	at := func(path string) string { return p.feed.issuer + path }
	secret := []oidc.AuthMethod{oidc.AuthMethodBasic, oidc.AuthMethodPost}
	return op.NewResponse(&oidc.DiscoveryConfiguration{
		Issuer:                                    p.feed.issuer,
		AuthorizationEndpoint:                     at(pathAuthorize),
		TokenEndpoint:                             at(pathToken),
		IntrospectionEndpoint:                     at(pathIntrospect),
		RevocationEndpoint:                        at(pathRevoke),
		JwksURI:                                   at(pathKeys),
		ResponseTypesSupported:                    []string{string(oidc.ResponseTypeCode)},
		ResponseModesSupported:                    []string{string(oidc.ResponseModeQuery)},
		GrantTypesSupported:                       grantTypes(),
		SubjectTypesSupported:                     []string{"public"},
		IDTokenSigningAlgValuesSupported:          []string{"EdDSA"},
		TokenEndpointAuthMethodsSupported:         secret,
		RevocationEndpointAuthMethodsSupported:    secret,
		IntrospectionEndpointAuthMethodsSupported: secret,
		CodeChallengeMethodsSupported:             []oidc.CodeChallengeMethod{oidc.CodeChallengeMethodS256},
	}), nil
}
