package srv

import (
	"context"
	"errors"
	"slices"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/micro/go-platform/internal/rpcerr"
)

// maxAudience bounds the audience of a token.
const maxAudience = 8

// TokenExchange implements op.Server (RFC 8693): the client gets a token with
// which it acts for the subject of the one it shows. It may do no more than
// that one, lives no longer, and names everybody who passed it on.
func (p *provider) TokenExchange(ctx context.Context, r *op.ClientRequest[oidc.TokenExchangeRequest]) (*op.Response, error) {
	a, q := accountOf(r.Client), r.Data
	if err := exchangeable(q); err != nil {
		return nil, err
	}
	shown, err := p.feed.verify(q.SubjectToken)
	if err != nil {
		return nil, badGrant("subject_token is not valid")
	}
	subject, err := p.store.Account(ctx, shown.Subject)
	switch {
	case errors.Is(err, rpcerr.ErrNotFound):
		return nil, badGrant("subject_token is not valid")
	case err != nil:
		return nil, p.fail("read an account", err)
	case subject.disabled || shown.IssuedAt < subject.validFrom:
		return nil, badGrant("subject_token is not valid")
	case shown.Actor.length() >= maxActors:
		return nil, badGrant("more than %d actors", maxActors)
	}
	scopes, err := grantable(q.Scopes, shown.scopes())
	if err != nil {
		return nil, err
	}
	if scopes, err = grantable(nil, scopes, subject.scopes); err != nil {
		return nil, err
	}
	audience, err := narrower(q.Audience, shown.Audience)
	if err != nil {
		return nil, err
	}
	i := issuing{
		subject: subject, client: a.clientID, sid: shown.Session, scopes: scopes, audience: audience,
		request: callerOf(ctx).meta, notAfter: shown.Expires, actor: &actor{Subject: a.id, Actor: shown.Actor},
	}
	if i.sid == "" { // then it ends with the token that was shown
		i.sid = shown.ID
	}
	// Roles may have been taken since; they may not have grown.
	narrowed := *subject
	narrowed.roles = slices.DeleteFunc(slices.Clone(subject.roles), func(s string) bool { return !slices.Contains(shown.Roles, s) })
	i.subject = &narrowed
	t, _, err := p.answer(i, "")
	if err != nil {
		return nil, err
	}
	return op.NewResponse(&oidc.TokenExchangeResponse{
		AccessToken: t.AccessToken, IssuedTokenType: oidc.AccessTokenType, TokenType: t.TokenType,
		ExpiresIn: t.ExpiresIn, Scopes: t.Scope,
	}), nil
}

// exchangeable tells whether the kinds of tokens are those we have. Who acts is
// the client: another actor's token is not taken.
func exchangeable(q *oidc.TokenExchangeRequest) error {
	for _, t := range []oidc.TokenType{q.SubjectTokenType, q.RequestedTokenType} {
		if t != "" && t != oidc.AccessTokenType && t != oidc.JWTTokenType {
			return oidc.ErrInvalidRequest().WithDescription("only access tokens can be exchanged")
		}
	}
	if q.ActorToken != "" || q.ActorTokenType != "" {
		return oidc.ErrInvalidRequest().WithDescription("the actor is the client: actor_token is not supported")
	}
	if len(q.Resource) > 0 {
		return oidc.ErrInvalidTarget().WithDescription("name the audience, not a resource")
	}
	return nil
}

// narrower returns the audience to give: that asked for, which must be within
// the shown one, or anything when that is everybody.
func narrower(asked, shown []string) ([]string, error) {
	if len(asked) == 0 {
		return shown, nil
	}
	if len(asked) > maxAudience {
		return nil, oidc.ErrInvalidTarget().WithDescription("more than %d in audience", maxAudience)
	}
	for _, s := range asked {
		if !identifier(s) || !slices.Contains(shown, s) && !slices.Contains(shown, Audience) {
			return nil, oidc.ErrInvalidTarget().WithDescription("an audience may not be had")
		}
	}
	return asked, nil
}
