package oauth2

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/internal/jwt"
	"github.com/micro/go-platform/internal/clean"
)

var (
	errExpired = fmt.Errorf("%w: expired", auth.ErrInvalidToken)
	errRevoked = fmt.Errorf("%w: revoked", auth.ErrInvalidToken)
	errKey     = fmt.Errorf("%w: signed with a key that is trusted no longer", auth.ErrInvalidToken)
	errKind    = fmt.Errorf("%w: not an access token", auth.ErrInvalidToken)
	errInvalid = fmt.Errorf("%w: malformed", auth.ErrInvalidToken)
)

// check returns what is known of a good token.
func (a *Auth) check(ctx context.Context, raw string) (*verified, error) {
	p, ok := a.provider.Peek()
	if !ok {
		if err := a.life.Use(ctx); err != nil {
			return nil, fmt.Errorf("tokens cannot be verified: %w: %w", auth.ErrUnavailable, err)
		}
		if _, err := a.provider.Get(); err != nil {
			return nil, fmt.Errorf("tokens cannot be verified yet: %w", err)
		}
		p, _ = a.provider.Peek()
	}
	if p == nil || a.rules == nil {
		return nil, fmt.Errorf("tokens cannot be verified yet: %w", auth.ErrUnavailable)
	}
	if a.revoked.has(raw) {
		return nil, errRevoked
	}
	good, ok := a.cache.Get(raw)
	if ok && a.current(good) {
		return good, a.still(p, good)
	}
	return a.verify(ctx, p, raw, good)
}

// current reports whether what was remembered needs no new question.
func (a *Auth) current(v *verified) bool {
	return a.opts.introspect == 0 || time.Since(v.asked) < a.opts.introspect
}

func (a *Auth) still(p *provider, v *verified) error {
	switch {
	case v.err != nil:
		return v.err
	case time.Now().After(v.until):
		return errExpired
	case v.key != nil && v.judged != p && !v.key.Equal(p.keys.Get(v.key.ID)):
		return errKey
	}
	return nil
}

// verify finds out about a token anew. Before is what was known of it, if it
// was.
func (a *Auth) verify(ctx context.Context, p *provider, raw string, before *verified) (*verified, error) {
	if len(a.NewHeader(nil, &auth.Token{AccessToken: raw})) == 0 { // no token looks like that
		return nil, errInvalid
	}
	var good *verified
	var err error
	if strings.Count(raw, ".") == 2 || a.opts.introspect == 0 {
		if good, err = a.verifySigned(p, raw); err != nil {
			return nil, err
		}
	}
	if a.opts.introspect > 0 {
		if good, err = a.verifyAsked(ctx, p, raw, good, before); err != nil {
			return nil, err
		}
	}
	if err := a.still(p, good); err != nil {
		return nil, err
	}
	good.judged = p
	a.cache.Put(raw, good)
	return good, nil
}

func (a *Auth) verifySigned(p *provider, raw string) (*verified, error) {
	var c claims
	key, err := p.keys.Verify(raw, &c)
	if jwt.UnknownKey(err) {
		a.provider.Renew() // once in a while; until then it is refused
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", auth.ErrInvalidToken, err)
	}
	if !c.isAccess() {
		return nil, errKind
	}
	good, ok := c.accept(raw)
	if !ok {
		return nil, errInvalid
	}
	good.key = key
	return good, nil
}

// verifyAsked asks the provider. While it is away, what it said last counts
// until the token expires.
func (a *Auth) verifyAsked(ctx context.Context, p *provider, raw string, signed, before *verified) (*verified, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	told, err := a.ask(ctx, p, raw)
	switch {
	case errors.Is(err, auth.ErrInvalidToken):
		if before != nil { // strangers shall not push good tokens out
			a.cache.Put(raw, &verified{err: err, asked: time.Now()})
		}
		return nil, err
	case err != nil && before != nil && before.err == nil:
		again := *before
		again.asked = time.Now()
		return &again, nil
	case err != nil:
		return nil, err
	}
	if signed != nil {
		told.key = signed.key
	}
	told.asked = time.Now()
	return told, nil
}

// answer is that of RFC 7662, section 2.2.
type answer struct {
	Active    bool        `json:"active"`
	Scope     string      `json:"scope"`
	ClientID  string      `json:"client_id"`
	TokenType string      `json:"token_type"`
	Expires   int64       `json:"exp"`
	Subject   string      `json:"sub"`
	Audience  jwt.Strings `json:"aud"`
	Issuer    string      `json:"iss"`
	ID        string      `json:"jti"`
	Roles     words       `json:"roles"`
	Actor     actor       `json:"act"`
}

var errNotActive = fmt.Errorf("%w: the provider says it is not active", auth.ErrInvalidToken)

func (a *Auth) ask(ctx context.Context, p *provider, raw string) (*verified, error) {
	if p.Introspection == "" {
		return nil, fmt.Errorf("introspect: %w: the provider has no endpoint for it", auth.ErrUnavailable)
	}
	select {
	case a.asking <- struct{}{}:
		defer func() { <-a.asking }()
	default:
		return nil, fmt.Errorf("introspect: %w: %d questions under way", auth.ErrUnavailable, maxAsking)
	}
	var said answer
	err := a.post(ctx, p.Introspection, url.Values{"token": {raw}, "token_type_hint": {"access_token"}}, &said)
	if errors.Is(err, auth.ErrInvalidToken) { // of our own credentials, not of the token
		return nil, fmt.Errorf("introspect: %w: the provider does not take the client", auth.ErrUnavailable)
	}
	if err != nil {
		return nil, fmt.Errorf("introspect: %w", err)
	}
	whom := a.opts.Audience
	if a.opts.resource != nil {
		whom = "" // isFor judges it
	}
	return said.accept(raw, p, whom)
}

func (s *answer) accept(raw string, p *provider, audience string) (*verified, error) {
	switch {
	case !s.Active:
		return nil, errNotActive
	case s.Issuer != "" && s.Issuer != p.Issuer:
		return nil, fmt.Errorf("%w: of another issuer", auth.ErrInvalidToken)
	case audience != "" && len(s.Audience) > 0 && !slices.Contains(s.Audience, audience):
		return nil, fmt.Errorf("%w: for another audience", auth.ErrInvalidToken)
	case s.TokenType != "" && !strings.EqualFold(s.TokenType, auth.Bearer):
		return nil, errKind
	}
	c := claims{Scope: strings.Fields(s.Scope), Roles: s.Roles, Actor: s.Actor}
	c.Issuer, c.Subject, c.ClientID, c.ID, c.Expires, c.Audience = p.Issuer, s.Subject, s.ClientID, s.ID, s.Expires, s.Audience
	if c.Subject == "" {
		c.Subject = c.ClientID // a client's own token
	}
	if c.Expires == 0 {
		c.Expires = time.Now().Add(auth.MaxLifetime).Unix() // asked again before
	}
	good, ok := c.accept(raw)
	if !ok || !clean.Name(c.Subject, 256) {
		return nil, errInvalid
	}
	return good, nil
}
