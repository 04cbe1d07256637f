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

// maxStale bounds how long a call with a token that was good waits for a
// provider that does not answer. It is less than the patience of a guard.
const maxStale = time.Second

// verifyAsked asks the provider. While it is away, what it said last counts
// until the token expires. A question is asked once for all who have it, and
// goes on when they are gone: what comes of it is remembered.
func (a *Auth) verifyAsked(ctx context.Context, p *provider, raw string, signed, before *verified) (*verified, error) {
	if err := ctx.Err(); err != nil { // a guard asks again when it may wait
		return nil, fmt.Errorf("introspect: %w", err)
	}
	known := before != nil && before.err == nil
	done := a.questions.DoChan(raw, func() (any, error) {
		ctx, cancel := context.WithTimeout(a.life.Life(), timeout)
		defer cancel()
		return a.learn(ctx, p, raw, signed, before)
	})
	var late <-chan time.Time
	if known {
		timer := time.NewTimer(maxStale)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case got := <-done:
		good, _ := got.Val.(*verified) // nil with an error
		if known && errors.Is(got.Err, errBusy) {
			return before, a.still(p, before)
		}
		return good, got.Err
	case <-late:
		return before, a.still(p, before)
	case <-ctx.Done():
		return nil, fmt.Errorf("introspect: %w", ctx.Err())
	}
}

// learn asks and remembers the answer.
func (a *Auth) learn(ctx context.Context, p *provider, raw string, signed, before *verified) (*verified, error) {
	turns := a.asking
	if before != nil { // strangers with made-up tokens shall not keep the rest from being asked about
		turns = a.askingAgain
	}
	told, err := a.ask(ctx, p, turns, raw)
	switch {
	case errors.Is(err, auth.ErrInvalidToken):
		if before != nil { // strangers shall not push good tokens out
			a.cache.Put(raw, &verified{err: err, asked: time.Now()})
		}
		return nil, err
	case errors.Is(err, errBusy):
		return nil, err
	case err != nil && before != nil && before.err == nil:
		again := *before
		again.asked = time.Now()
		return &again, a.keep(p, raw, &again)
	case err != nil:
		return nil, err
	}
	if signed != nil {
		told.bind(signed)
	}
	told.asked = time.Now()
	return told, a.keep(p, raw, told)
}

// bind adds what the provider signed to what it answered: an answer need not
// repeat the claims of a token (RFC 7662, section 2.2).
func (v *verified) bind(signed *verified) {
	v.key = signed.key
	if len(v.token.Audience) == 0 {
		v.token.Audience = signed.token.Audience
	}
	if signed.until.Before(v.until) {
		v.until, v.token.ExpiresAt = signed.until, signed.token.ExpiresAt
	}
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

var errBusy = fmt.Errorf("introspect: %w: %d questions under way", auth.ErrUnavailable, maxAsking)

var errNotActive = fmt.Errorf("%w: the provider says it is not active", auth.ErrInvalidToken)

// ask asks the provider in one of the turns.
func (a *Auth) ask(ctx context.Context, p *provider, turns chan struct{}, raw string) (*verified, error) {
	if p.Introspection == "" {
		return nil, fmt.Errorf("introspect: %w: the provider has no endpoint for it", auth.ErrUnavailable)
	}
	select {
	case turns <- struct{}{}:
		defer func() { <-turns }()
	default:
		return nil, errBusy
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
