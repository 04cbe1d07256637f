package oauth2

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/internal/jwt"
)

// TokenFor implements auth.Source. Without the option Resource it is Token.
func (a *Auth) TokenFor(audience string) (*auth.Token, error) {
	if a.opts.resource == nil || a.opts.Id == "" {
		return a.Token()
	}
	if err := a.life.Use(context.Background()); err != nil {
		return nil, err
	}
	return a.each.Get(audience)
}

// RenewFor replaces the own token for an audience, because a receiver refused
// it. It does not wait.
func (a *Auth) RenewFor(audience string) {
	if a.opts.resource == nil {
		a.mine.Renew()
		return
	}
	a.each.Renew(audience)
}

// resource returns the provider's name for an audience.
func (a *Auth) resource(audience string) string {
	if a.opts.resource == nil || audience == a.opts.Service {
		return a.opts.Audience
	}
	return a.opts.resource(audience)
}

// Exchange implements auth.Exchanger. Without the option Resource a token is
// for all services, and t is returned as it is.
func (a *Auth) Exchange(ctx context.Context, t *auth.Token, audience string) (*auth.Token, error) {
	if t == nil || t.AccessToken == "" {
		return nil, fmt.Errorf("exchange a token: %w: no access token", auth.ErrInvalid)
	}
	if err := a.life.Use(ctx); err != nil {
		return nil, fmt.Errorf("exchange a token: %w", err)
	}
	if a.opts.resource == nil {
		return t, nil
	}
	resource := a.resource(audience)
	if says(t, resource) {
		return t, nil
	}
	made, err := a.swaps.Get(ctx, audience+" "+t.AccessToken, func(ctx context.Context) (*auth.Token, time.Duration, error) { // no token has a space
		return a.exchange(ctx, t.AccessToken, resource)
	})
	if err != nil {
		return nil, fmt.Errorf("exchange a token: %w", err)
	}
	return made, nil
}

// says reports whether t says of itself that it is for the resource.
func says(t *auth.Token, resource string) bool {
	if len(t.Audience) > 0 {
		return slices.Contains(t.Audience, resource)
	}
	var c jwt.Claims
	return jwt.Peek(t.AccessToken, &c) == nil && slices.Contains(c.Audience, resource)
}

func (a *Auth) exchange(ctx context.Context, token, resource string) (*auth.Token, time.Duration, error) {
	p, err := a.provider.Await(ctx)
	if err != nil {
		return nil, 0, err
	}
	const accessToken = "urn:ietf:params:oauth:token-type:access_token" //nolint:gosec // not a secret
	var said struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		Expires     int64  `json:"expires_in"`
		Scope       string `json:"scope"`
	}
	err = a.post(ctx, p.Token, url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {token}, "subject_token_type": {accessToken},
		"requested_token_type": {accessToken}, a.opts.parameter: {resource},
	}, &said)
	if status := statusError(0); errors.As(err, &status) && status == http.StatusBadRequest { // RFC 8693, section 2.2.2
		return nil, 0, fmt.Errorf("%w: the provider does not exchange it", auth.ErrInvalidToken)
	}
	if err != nil {
		return nil, 0, err
	}
	lifetime := min(time.Duration(min(said.Expires, 1<<32))*time.Second, auth.MaxLifetime)
	if said.AccessToken == "" || lifetime <= 0 {
		return nil, 0, fmt.Errorf("%w: the provider sent no token", auth.ErrUnavailable)
	}
	return &auth.Token{
		AccessToken: said.AccessToken, TokenType: said.TokenType, ExpiresAt: time.Now().Add(lifetime), Scopes: jwt.Fields(said.Scope),
		Audience: []string{resource},
	}, lifetime, nil
}

var errOther = fmt.Errorf("%w: for another audience", auth.ErrInvalidToken)

// isFor reports whether the audience of a token fits req. With the option
// Resource a token of which nobody says for whom it is fits nowhere; without it
// all tokens are for one audience, which was checked where one was told.
func (a *Auth) isFor(good *verified, req auth.Request) bool {
	audience := good.token.Audience
	if a.opts.resource == nil {
		return true
	}
	if aimed, ok := req.(auth.Aimed); ok {
		return slices.Contains(audience, a.resource(aimed.Audience()))
	}
	return slices.Contains(audience, a.opts.Audience) ||
		a.opts.Id != "" && good.token.Metadata["client_id"] == a.opts.Id && slices.Contains(audience, a.resource(req.Service()))
}

// self is a request to this service.
type self string

func (s self) Service() string { return string(s) }
func (self) Method() string    { return "" }
