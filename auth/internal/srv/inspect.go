package srv

import (
	"context"
	"errors"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/micro/go-platform/internal/rpcerr"
)

// The scopes with a meaning to auth-srv.
const (
	// ScopeAdmin may do everything here.
	ScopeAdmin = "admin"
	// ScopeIntrospect may ask about any token, as services that do not verify
	// by themselves must.
	ScopeIntrospect = "introspect"
	// ScopeService is what platform services get that enrolled.
	ScopeService = "service"
)

// inquirer is who asks about or revokes a token: a client with its secret, or
// the subject of a token.
type inquirer struct {
	account, client string // id and client id
	direct          bool   // for itself
	scopes          []string
}

func byAccount(a *account) inquirer {
	return inquirer{account: a.id, client: a.clientID, direct: true, scopes: a.scopes}
}

func byToken(c *claims, a *account) inquirer {
	return inquirer{account: c.Subject, client: c.ClientID, direct: c.direct(a), scopes: c.scopes()}
}

func (i inquirer) may(scope string) bool {
	for _, s := range i.scopes {
		if s == scope || s == ScopeAdmin {
			return true
		}
	}
	return false
}

// owns reports whether a token is the inquirer's own: made for it, or through
// it. An inquirer that acts for another account owns only what it got for that
// account.
func (i inquirer) owns(subject, client string) bool {
	if i.direct {
		return subject == i.account || client == i.client
	}
	return subject == i.account && client == i.client
}

// serves reports whether the token is for the inquirer, the resource server of
// RFC 7662.
func (i inquirer) serves(c *claims) bool { return i.direct && c.isFor(i.account) }

// inspect returns the claims of a good access token, or ErrNotFound: to who may
// not ask, no token is good.
func (p *provider) inspect(raw string, i inquirer) (*claims, error) {
	c, err := p.feed.verify(raw)
	if err != nil || !i.owns(c.Subject, c.ClientID) && !i.serves(c) && !i.may(ScopeIntrospect) {
		return nil, rpcerr.ErrNotFound
	}
	return c, nil
}

// Introspect implements op.Server.
func (p *provider) Introspect(ctx context.Context, r *op.Request[op.IntrospectionRequest]) (*op.Response, error) {
	a, err := p.clients.check(ctx, callerOf(ctx).peer, r.Data.ClientID, r.Data.ClientSecret)
	if err != nil {
		return nil, p.fail("check a client", err)
	}
	c, err := p.inspect(r.Data.Token, byAccount(a))
	if err != nil {
		return op.NewResponse(&oidc.IntrospectionResponse{}), nil //nolint:nilerr // RFC 7662, section 2.2
	}
	return op.NewResponse(&struct {
		Active    bool   `json:"active"`
		TokenType string `json:"token_type"`
		*claims
	}{true, oidc.BearerToken, c}), nil
}

// Revocation implements op.Server (RFC 7009).
func (p *provider) Revocation(ctx context.Context, r *op.ClientRequest[oidc.RevocationRequest]) (*op.Response, error) {
	switch err := p.revoke(ctx, r.Data.Token, byAccount(accountOf(r.Client))); {
	case errors.Is(err, rpcerr.ErrForbidden):
		return nil, oidc.ErrUnauthorizedClient().WithDescription("the token is of another client")
	case err != nil:
		return nil, p.fail("revoke a token", err)
	}
	return op.NewResponse(struct{}{}), nil
}

// revoke ends an access token and what was exchanged from it, or the family of
// a refresh token. One that is unknown or over is a success (RFC 7009, section
// 2.2).
func (p *provider) revoke(ctx context.Context, token string, i inquirer) error {
	expires := p.feed.lastExpiry(time.Now())
	if c, err := p.feed.verify(token); err == nil {
		if !i.owns(c.Subject, c.ClientID) && !i.may(ScopeAdmin) {
			return rpcerr.ErrForbidden
		}
		return p.revokeToken(ctx, c)
	}
	g, err := p.store.Grant(ctx, digest(token))
	switch {
	case errors.Is(err, rpcerr.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	client, err := p.store.Account(ctx, g.client)
	if err != nil && !errors.Is(err, rpcerr.ErrNotFound) {
		return err
	}
	if err == nil && !i.owns(g.account, client.clientID) && !i.may(ScopeAdmin) {
		return rpcerr.ErrForbidden
	}
	return p.revokeNow(ctx, revocation{sid: g.sid, expires: expires})
}

// revokeToken ends an access token and what was exchanged from it.
func (p *provider) revokeToken(ctx context.Context, c *claims) error {
	expires := p.feed.lastExpiry(time.Now())
	return p.revokeNow(ctx, revocation{jti: c.ID, expires: expires}, revocation{sid: c.ID, expires: expires})
}

func (p *provider) revokeNow(ctx context.Context, rs ...revocation) error {
	if err := p.store.Revoke(ctx, rs...); err != nil {
		return err
	}
	return p.feed.refresh(ctx)
}
