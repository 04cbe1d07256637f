package srv

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/micro/go-platform/internal/rpcerr"
)

// What an authorization request may hold, in bytes.
const (
	maxState  = 512
	maxNonce  = 256
	s256Bytes = 43 // of a SHA-256 sum in base64url
)

// asked is an authorization request that passed all checks and waits for the
// user. It goes through the user's browser, signed by us.
type asked struct {
	Client    string   `json:"client"` // id of the account
	Redirect  string   `json:"redirect"`
	State     string   `json:"state,omitempty"`
	Nonce     string   `json:"nonce,omitempty"`
	Challenge string   `json:"challenge"`
	Scopes    []string `json:"scopes"`
	Expires   int64    `json:"exp"`
}

// The JWT type of asked, and how long a user may take to log in.
const (
	askedType = "auth-request+jwt"
	loginTTL  = 10 * time.Minute
)

// VerifyAuthRequest implements op.Server. What is refused here is shown to the
// user: it may not be sent anywhere.
func (p *provider) VerifyAuthRequest(ctx context.Context, r *op.Request[oidc.AuthRequest]) (*op.ClientRequest[oidc.AuthRequest], error) {
	a, err := p.store.AccountOfClient(ctx, r.Data.ClientID)
	if err == nil && a.disabled {
		err = rpcerr.ErrNotFound
	}
	if errors.Is(err, rpcerr.ErrNotFound) || len(r.Data.ClientID) > maxID {
		return nil, oidc.ErrInvalidRequestRedirectURI().WithDescription("unknown client_id or redirect_uri")
	}
	if err != nil {
		return nil, p.fail("read a client", err)
	}
	known := false
	for _, u := range a.redirects { // letter by letter (RFC 9700, section 4.1.3)
		known = known || u == r.Data.RedirectURI
	}
	if !known {
		return nil, oidc.ErrInvalidRequestRedirectURI().WithDescription("unknown client_id or redirect_uri")
	}
	if len(r.Data.Scopes) == 0 { // the library wants one
		if r.Data.Scopes = a.scopes; len(a.scopes) == 0 {
			return nil, oidc.ErrInvalidRequestRedirectURI().WithDescription("the client may have no scope")
		}
	}
	return &op.ClientRequest[oidc.AuthRequest]{Request: r, Client: client{a}}, nil
}

// Authorize implements op.Server: it sends the user on to log in, or back with
// a code when an RPC brought the user's token.
func (p *provider) Authorize(ctx context.Context, r *op.ClientRequest[oidc.AuthRequest]) (*op.Redirect, error) {
	a, q := accountOf(r.Client), r.Data
	if err := p.checkAuthRequest(q); err != nil {
		return nil, err
	}
	want := &asked{
		Client: a.id, Redirect: q.RedirectURI, State: q.State, Nonce: q.Nonce, Challenge: q.CodeChallenge,
		Expires: time.Now().Add(loginTTL).Unix(),
	}
	var err error
	if want.Scopes, err = grantable(q.Scopes, a.scopes); err != nil {
		return nil, err
	}
	if user := callerOf(ctx).user; user != nil {
		return p.authorizeByToken(ctx, want, a, user)
	}
	for _, prompt := range q.Prompt {
		if prompt == oidc.PromptNone { // there are no sessions
			return nil, oidc.ErrLoginRequired()
		}
	}
	sealed, err := p.feed.now.Load().keys.sign(time.Now(), askedType, want)
	if err != nil {
		return nil, p.fail("sign a request", err)
	}
	return op.NewRedirect(pathLogin + "?" + url.Values{"request": {sealed}}.Encode()), nil
}

func (p *provider) checkAuthRequest(q *oidc.AuthRequest) error {
	switch {
	case q.RequestParam != "":
		return oidc.ErrRequestNotSupported()
	case q.ResponseMode != "" && q.ResponseMode != oidc.ResponseModeQuery:
		return oidc.ErrInvalidRequest().WithDescription("response_mode must be query")
	case len(q.CodeChallenge) != s256Bytes || q.CodeChallengeMethod != oidc.CodeChallengeMethodS256:
		return oidc.ErrInvalidRequest().WithDescription("PKCE with code_challenge_method S256 is required")
	case len(q.State) > maxState || len(q.Nonce) > maxNonce:
		return oidc.ErrInvalidRequest().WithDescription("state or nonce is too long")
	}
	return nil
}

// authorizeByToken gives a code for the user who called with a token of its
// own, for no more than that token may do.
func (p *provider) authorizeByToken(ctx context.Context, want *asked, a *account, token *claims) (*op.Redirect, error) {
	user, err := p.store.Account(ctx, token.Subject)
	if err != nil {
		return nil, p.fail("read an account", err)
	}
	if user.kind != "user" || !token.direct(user) {
		return nil, op.NewStatusError(oidc.ErrAccessDenied().WithDescription("only a user's own token can authorize a client"), http.StatusForbidden)
	}
	if want.Scopes, err = grantable(want.Scopes, token.scopes(), user.scopes); err != nil {
		return nil, err
	}
	return p.issueCode(ctx, want, a, user)
}

// issueCode sends the user back to the client with a code.
func (p *provider) issueCode(ctx context.Context, want *asked, a, user *account) (*op.Redirect, error) {
	scopes, err := grantable(want.Scopes, user.scopes, a.scopes)
	if err != nil {
		return nil, err
	}
	now, plain := time.Now(), newSecret()
	g := &grant{
		sid: uuid.NewString(), account: user.id, client: a.id, scopes: scopes,
		// In the second in which older grants were revoked: see mint.
		created: max(now.Unix(), user.validFrom, a.validFrom),
		expires: now.Add(p.settings.refreshLifetime).Unix(),
	}
	c := &code{hash: digest(plain), redirect: want.Redirect, challenge: want.Challenge, nonce: want.Nonce, expires: now.Add(codeTTL).Unix()}
	if err := p.store.CreateGrant(ctx, g, c); err != nil {
		return nil, p.fail("create a grant", err)
	}
	return p.back(want, url.Values{"code": {plain}})
}

// back leads to the client, with iss so that no other server's answer can be
// mixed up with ours (RFC 9207).
func (p *provider) back(want *asked, params url.Values) (*op.Redirect, error) {
	u, err := url.Parse(want.Redirect)
	if err != nil {
		return nil, p.fail("parse a redirect URI", err)
	}
	query := u.Query()
	for k := range params {
		query.Set(k, params.Get(k))
	}
	if want.State != "" {
		query.Set("state", want.State)
	}
	query.Set("iss", p.feed.issuer)
	u.RawQuery = query.Encode()
	return op.NewRedirect(u.String()), nil
}
