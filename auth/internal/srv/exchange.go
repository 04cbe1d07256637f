package srv

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/internal/policy"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/rpcerr"
)

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
	if err := p.mayExchange(a, shown); err != nil {
		return nil, err
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
	audience, err := audienceOf(r.Form)
	if err != nil {
		return nil, err
	}
	if audience == "" {
		audience = shown.Audience[0]
	}
	i := issuing{
		subject: subject, client: a.clientID, sid: shown.Session, scopes: scopes, audience: audience,
		request: callerOf(ctx).meta, notAfter: shown.Expires, actor: &actor{Subject: a.id, Since: max(now(), a.validFrom), Actor: shown.Actor},
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

// exchangeable returns an error unless the kinds of tokens are those we have.
// The client acts: another actor's token is not accepted.
func exchangeable(q *oidc.TokenExchangeRequest) error {
	for _, t := range []oidc.TokenType{q.SubjectTokenType, q.RequestedTokenType} {
		if t != "" && t != oidc.AccessTokenType && t != oidc.JWTTokenType {
			return oidc.ErrInvalidRequest().WithDescription("only access tokens can be exchanged")
		}
	}
	if q.ActorToken != "" || q.ActorTokenType != "" {
		return oidc.ErrInvalidRequest().WithDescription("the actor is the client: actor_token is not supported")
	}
	return nil
}

// mayExchange returns nil if a token was given to the account, or is for a
// service whose name the account holds. Whoever came by it otherwise, as the
// subscribers of a topic do, must not exchange it.
func (p *provider) mayExchange(a *account, shown *claims) error {
	if shown.ClientID == a.clientID {
		return nil
	}
	for _, name := range shown.Audience {
		if !auth.IsTopicAudience(name) && p.owns(a, name) {
			return nil
		}
	}
	return badGrant("subject_token is not for this client")
}

// owns reports whether an account may hold a service's name.
func (p *provider) owns(a *account, name string) bool {
	return p.feed.now.Load().rules.set.Holds(&policy.Call{Account: a.id, Roles: a.roles, Scopes: a.scopes, Service: name}).Allowed
}

// audienceOf returns the audience that a token is asked for, by resource (RFC
// 8707) or audience (RFC 8693). It is empty when none is named. Two are
// refused: each of the services could use the token at the other.
func audienceOf(form url.Values) (string, error) {
	asked := slices.Concat(form["resource"], form["audience"])
	slices.Sort(asked)
	asked = slices.DeleteFunc(slices.Compact(asked), func(s string) bool { return s == "" })
	switch {
	case len(asked) == 0:
		return "", nil
	case len(asked) > 1:
		return "", oidc.ErrInvalidTarget().WithDescription("a token is for one service: name one")
	case !clean.Name(asked[0], maxAudience) || strings.ContainsRune(asked[0], '*'):
		return "", oidc.ErrInvalidTarget().WithDescription("not the name of a service or topic of at most %d bytes", maxAudience)
	}
	return asked[0], nil
}

// maxAudience bounds the name of a service or, with its prefix, a topic.
const maxAudience = 264
