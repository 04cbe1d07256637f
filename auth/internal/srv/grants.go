package srv

import (
	"context"
	"crypto/subtle"
	"errors"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/micro/go-platform/auth/internal/jwt"
	"github.com/micro/go-platform/internal/rpcerr"
)

func (p *provider) answer(i issuing, refresh string) (*oidc.AccessTokenResponse, *claims, error) {
	raw, c, err := p.feed.mint(i)
	if err != nil {
		return nil, nil, p.fail("sign a token", err)
	}
	return &oidc.AccessTokenResponse{
		AccessToken: raw, TokenType: oidc.BearerToken, RefreshToken: refresh,
		ExpiresIn: uint64(max(0, c.Expires-time.Now().Unix())), Scope: i.scopes,
	}, c, nil
}

// ClientCredentialsExchange implements op.Server.
func (p *provider) ClientCredentialsExchange(ctx context.Context, r *op.ClientRequest[oidc.ClientCredentialsRequest]) (*op.Response, error) {
	a := accountOf(r.Client)
	scopes, err := grantable(r.Data.Scope, a.scopes)
	if err != nil {
		return nil, err
	}
	audience, err := audienceOf(r.Form)
	if err != nil {
		return nil, err
	}
	answer, _, err := p.answer(issuing{subject: a, client: a.clientID, scopes: scopes, audience: audience, request: callerOf(ctx).meta}, "")
	if err != nil {
		return nil, err
	}
	return op.NewResponse(answer), nil
}

// CodeExchange implements op.Server. A code that comes twice was stolen from
// somebody: what it was given for the first time ends.
func (p *provider) CodeExchange(ctx context.Context, r *op.ClientRequest[oidc.AccessTokenRequest]) (*op.Response, error) {
	a, hash, now := accountOf(r.Client), digest(r.Data.Code), time.Now()
	c, g, err := p.store.Code(ctx, hash)
	switch {
	case errors.Is(err, rpcerr.ErrNotFound):
		return nil, badGrant("the code is unknown")
	case err != nil:
		return nil, p.fail("read a code", err)
	case c.redeemed:
		return nil, p.endFamily(ctx, g.sid, "the code was used before")
	case g.client != a.id:
		return nil, badGrant("the code is of another client")
	case g.revoked || c.expires < now.Unix():
		return nil, badGrant("the code has expired")
	case c.redirect != r.Data.RedirectURI:
		return nil, badGrant("redirect_uri is not the one of the authorization request")
	case !verifierFits(r.Data.CodeVerifier, c.challenge):
		return nil, badGrant("code_verifier does not fit the code_challenge")
	}
	user, scopes, err := p.subject(ctx, g, a, nil)
	if err != nil {
		return nil, err
	}
	audience, err := audienceOf(r.Form)
	if err != nil {
		return nil, err
	}
	refresh := newSecret()
	switch err := p.store.Redeem(ctx, hash, digest(refresh), now); {
	case errors.Is(err, rpcerr.ErrConflict): // another request was faster
		return nil, p.endFamily(ctx, g.sid, "the code was used before")
	case err != nil:
		return nil, p.fail("redeem a code", err)
	}
	answer, claims, err := p.answer(issuing{subject: user, client: a.clientID, sid: g.sid, scopes: scopes, audience: audience, request: callerOf(ctx).meta}, refresh)
	if err == nil && slices.Contains(scopes, oidc.ScopeOpenID) {
		answer.IDToken, err = p.idToken(claims, c.nonce)
	}
	if err != nil {
		return nil, err
	}
	return op.NewResponse(answer), nil
}

// verifierFits checks PKCE S256 (RFC 7636, section 4.6), which is required.
func verifierFits(verifier, challenge string) bool {
	if len(verifier) < 43 || len(verifier) > 128 {
		return false
	}
	return subtle.ConstantTimeCompare([]byte(oidc.NewSHACodeChallenge(verifier)), []byte(challenge)) == 1
}

// idToken tells the client who logged in. It is not an access token: its type is
// another one, and no verifier of access tokens takes it.
func (p *provider) idToken(c *claims, nonce string) (string, error) {
	raw, err := p.feed.now.Load().keys.sign(time.Now(), "JWT", map[string]any{
		"iss": c.Issuer, "sub": c.Subject, "aud": c.ClientID, "exp": c.Expires, "iat": c.IssuedAt, "nonce": nonce, "sid": c.Session,
	})
	if err != nil {
		return "", p.fail("sign an id token", err)
	}
	return raw, nil
}

// subject returns the user of a grant and the scopes that may be given of
// those asked for, by what all accounts may have now.
func (p *provider) subject(ctx context.Context, g *grant, by *account, asked []string) (*account, []string, error) {
	user, err := p.store.Account(ctx, g.account)
	switch {
	case errors.Is(err, rpcerr.ErrNotFound):
		return nil, nil, badGrant("the user is gone")
	case err != nil:
		return nil, nil, p.fail("read an account", err)
	case user.disabled, g.created < user.validFrom, g.created < by.validFrom:
		return nil, nil, badGrant("the grant was revoked")
	}
	scopes, err := grantable(asked, g.scopes)
	if err != nil {
		return nil, nil, err
	}
	scopes, err = grantable(nil, scopes, user.scopes, by.scopes) // what it still may have
	return user, scopes, err
}

// endFamily revokes what began with a grant and returns invalid_grant.
func (p *provider) endFamily(ctx context.Context, sid, why string) error {
	// He who replays cannot hinder this by going away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := p.store.Revoke(ctx, revocation{sid: sid, expires: p.feed.lastExpiry(time.Now())})
	if err == nil {
		err = p.feed.refresh(ctx)
	}
	if err != nil {
		return p.fail("revoke a grant", err)
	}
	return badGrant("%s: its tokens are revoked", why)
}

// lastExpiry is when no token that was issued until now can be valid any more.
func (f *feed) lastExpiry(now time.Time) int64 {
	return now.Add(f.rotation.lifetime + 2*jwt.Leeway).Unix()
}

// RefreshToken implements op.Server. An old token is good for siblings for a
// while, as those who raced for the new one need; later on somebody stole it
// and the whole family ends.
func (p *provider) RefreshToken(ctx context.Context, r *op.ClientRequest[oidc.RefreshTokenRequest]) (*op.Response, error) {
	a, hash := accountOf(r.Client), digest(r.Data.RefreshToken)
	g, err := p.store.Grant(ctx, hash)
	switch {
	case errors.Is(err, rpcerr.ErrNotFound):
		return nil, badGrant("the refresh token is unknown")
	case err != nil:
		return nil, p.fail("read a refresh token", err)
	case g.client != a.id:
		return nil, badGrant("the refresh token is of another client")
	case g.revoked:
		return nil, badGrant("the refresh token was revoked")
	case g.expires < time.Now().Unix():
		return nil, badGrant("the refresh token has expired")
	}
	user, scopes, err := p.subject(ctx, g, a, r.Data.Scopes)
	if err != nil {
		return nil, err
	}
	audience, err := audienceOf(r.Form)
	if err != nil {
		return nil, err
	}
	fresh := newSecret()
	// Who came together races, however long the database takes for all of them.
	switch err := p.store.Rotate(ctx, hash, digest(fresh), callerOf(ctx).at, p.settings.grace); {
	case errors.Is(err, rpcerr.ErrConflict):
		return nil, p.endFamily(ctx, g.sid, "the refresh token was used before")
	case err != nil:
		return nil, p.fail("rotate a refresh token", err)
	}
	answer, _, err := p.answer(issuing{subject: user, client: a.clientID, sid: g.sid, scopes: scopes, audience: audience, request: callerOf(ctx).meta}, fresh)
	if err != nil {
		return nil, err
	}
	return op.NewResponse(answer), nil
}
