// Package oauth2 is an Auth for any OAuth 2 or OpenID Connect provider: the own
// token by client_credentials with golang.org/x/oauth2, those of callers by the
// provider's keys or by introspection.
package oauth2

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/internal/jwt"
	"github.com/micro/go-platform/auth/internal/policy"
	"github.com/micro/go-platform/auth/internal/renew"
	"github.com/micro/go-platform/auth/plugin"
	"github.com/micro/go-platform/internal/lifecycle"
)

// Auth implements auth.Auth and auth.Verifier.
type Auth struct {
	auth.Carrier
	opts     options
	loose    bool
	provider *renew.Renewer[*provider]
	own      *renew.Renewer[*auth.Token]
	cache    *jwt.Cache[*verified]
	rules    *policy.Set
	rulesErr error
	revoked  revoked
	asking   chan struct{} // bounds questions under way
	group    lifecycle.Group
	stop     func() error
}

const (
	cacheSize = 4096
	maxAsking = 16
)

// NewAuth returns an Auth for the provider with the issuer's URL, exactly as the
// provider writes it. Tokens must be for the audience.
func NewAuth(issuer, audience string, opts ...Option) *Auth {
	o := newOptions(issuer, audience, opts)
	a := &Auth{opts: o, cache: jwt.NewCache[*verified](cacheSize), asking: make(chan struct{}, maxAsking)}
	a.rules, a.rulesErr = policy.Compile(plugin.Rules(o.rules...))
	a.loose = !slices.Equal(o.types, []string{"at+jwt", "application/at+jwt"})
	a.provider = renew.New(renew.Config[*provider]{
		Name: "the provider's keys", Fetch: a.discover, Every: keysEvery, Again: keysAgain, Timeout: 2 * timeout, Logger: o.logger,
	})
	a.own = renew.New(renew.Config[*auth.Token]{Name: "own token", Fetch: a.fetchToken, Timeout: 2 * timeout, Logger: o.logger})
	a.stop = sync.OnceValue(func() error { return a.group.Stop(lifecycle.FlushTimeout) })
	return a
}

// String implements auth.Auth.
func (a *Auth) String() string { return "oauth2" }

// ServiceName is the service that the wrappers decide for.
func (a *Auth) ServiceName() string { return a.opts.service }

// Start implements auth.Auth.
func (a *Auth) Start() error {
	if err := a.opts.validate(); err != nil {
		return err
	}
	if a.group.Running() {
		return nil
	}
	if a.rulesErr != nil {
		return fmt.Errorf("auth/oauth2: option Rules: %w", a.rulesErr)
	}
	a.provider.Open()
	loops := []func(context.Context){a.provider.Loop}
	if a.opts.id != "" {
		a.own.Open()
		loops = append(loops, a.own.Loop)
	}
	if err := a.group.Start(loops...); err != nil {
		return fmt.Errorf("start auth: %w", err)
	}
	return nil
}

// Stop implements auth.Auth.
func (a *Auth) Stop() error { return a.stop() }

// Token implements auth.Auth.
func (a *Auth) Token() (*auth.Token, error) {
	if a.opts.id == "" {
		return nil, fmt.Errorf("own token: %w: there is no option Id", auth.ErrInvalidToken)
	}
	return a.own.Get()
}

// Renew has the own token replaced: somebody refused it.
func (a *Auth) Renew() { a.own.Renew() }

// Authorized implements auth.Auth. With Introspection it may wait for the
// provider.
func (a *Auth) Authorized(ctx context.Context, req auth.Request) (*auth.Token, error) {
	token, err := a.inContext(ctx)
	if err != nil {
		return nil, err
	}
	return a.Verify(token, req)
}

func (a *Auth) inContext(ctx context.Context) (string, error) {
	t, ok := a.FromContext(ctx)
	if !ok || t.TokenType != "" && !strings.EqualFold(t.TokenType, auth.Bearer) {
		return "", fmt.Errorf("%w: no bearer token", auth.ErrInvalidToken)
	}
	return t.AccessToken, nil
}

// Verify implements auth.Verifier.
func (a *Auth) Verify(accessToken string, req auth.Request) (*auth.Token, error) {
	good, err := a.check(accessToken)
	if err != nil {
		return nil, err
	}
	call := good.call
	call.Service, call.Method = req.Service(), req.Method()
	if d := a.rules.Decide(&call); !d.Allowed {
		return nil, fmt.Errorf("%w: %.128q may not call %.256q of %.256q: %s", auth.ErrForbidden, call.Account, call.Method, call.Service, d.Reason)
	}
	return good.token, nil
}

// Introspect implements auth.Auth.
func (a *Auth) Introspect(ctx context.Context) (*auth.Token, error) {
	token, err := a.inContext(ctx)
	if err != nil {
		return nil, err
	}
	good, err := a.check(token)
	if err != nil {
		return nil, err
	}
	p, err := a.provider.Get()
	if err != nil || p.Introspection == "" || a.opts.id == "" {
		return good.token, nil // the local verdict counts
	}
	told, err := a.ask(ctx, p, token)
	if errors.Is(err, auth.ErrInvalidToken) {
		return nil, err
	}
	if err == nil {
		return told.token, nil
	}
	return good.token, nil
}

// Revoke implements auth.Auth (RFC 7009). Without Introspection other processes
// do not hear of it: their tokens end when they expire.
func (a *Auth) Revoke(t *auth.Token) error {
	if t == nil || t.AccessToken == "" && t.RefreshToken == "" {
		return fmt.Errorf("revoke: %w: no token", auth.ErrInvalid)
	}
	p, err := a.provider.Get()
	if err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	if p.Revocation == "" || a.opts.id == "" {
		return fmt.Errorf("revoke: %w: no revocation endpoint or no Id", auth.ErrUnavailable)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for hint, token := range map[string]string{"access_token": t.AccessToken, "refresh_token": t.RefreshToken} {
		if token == "" {
			continue
		}
		if err := a.post(ctx, p.Revocation, url.Values{"token": {token}, "token_type_hint": {hint}}, nil); err != nil {
			return fmt.Errorf("revoke: %w", err)
		}
	}
	a.revoked.add(t.AccessToken)
	return nil
}

// revoked are tokens that this process ended. None is kept for longer than a
// token may live.
type revoked struct {
	mu     sync.RWMutex
	tokens map[string]time.Time
}

const maxRevoked = 10_000

func (r *revoked) add(token string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tokens == nil {
		r.tokens = map[string]time.Time{}
	}
	if len(r.tokens) >= maxRevoked {
		for t, until := range r.tokens {
			if time.Now().After(until) {
				delete(r.tokens, t)
			}
		}
	}
	if token != "" && len(token) <= auth.MaxToken && len(r.tokens) < maxRevoked {
		r.tokens[token] = time.Now().Add(auth.MaxLifetime + jwt.Leeway)
	}
}

func (r *revoked) has(token string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, ok := r.tokens[token]
	return ok
}
