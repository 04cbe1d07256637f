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

	"golang.org/x/sync/singleflight"

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
	life                *lifecycle.Plugin
	opts                options
	loose               bool
	provider            *renew.Renewer[*provider]
	mine                *renew.Renewer[*auth.Token]
	each                *renew.Keyed[*auth.Token] // by audience, with the option Resource
	swaps               *renew.Memo[*auth.Token]
	cache               *jwt.Cache[*verified]
	rules               *policy.Set
	revoked             revoked
	questions           singleflight.Group
	asking, askingAgain chan struct{} // bound the questions under way about tokens: new ones, known ones
	group               lifecycle.Group
}

const (
	cacheSize = 4096
	maxAsking = 16
)

// NewAuth returns an Auth for the provider with the URL of the option
// auth.Issuer, exactly as the provider writes it. Tokens must be for
// auth.Audience, which has no default. auth.Client, auth.Addresses, auth.TLS,
// auth.Fingerprint and auth.SnapshotFile have no effect: see HTTPClient.
func NewAuth(opts ...auth.Option) *Auth {
	o := newOptions(opts)
	a := &Auth{opts: o, cache: jwt.NewCache[*verified](cacheSize), asking: make(chan struct{}, maxAsking), askingAgain: make(chan struct{}, maxAsking)}
	a.rules, _ = policy.Compile(plugin.Rules(o.rules...)) // Start refuses bad ones
	a.loose = !slices.Equal(o.types, []string{"at+jwt", "application/at+jwt"})
	a.provider = renew.New(renew.Config[*provider]{
		Name: "the provider's keys", Fetch: a.discover, Every: keysEvery, Again: keysAgain, Timeout: 2 * timeout, Logger: o.Logger,
	})
	a.mine = renew.New(renew.Config[*auth.Token]{Name: "own token", Fetch: func(ctx context.Context) (*auth.Token, time.Duration, error) { return a.fetchToken(ctx, "") }, Timeout: 2 * timeout, Logger: o.Logger})
	a.each = renew.NewKeyed(renew.KeyedConfig[*auth.Token]{Name: "own token for", Fetch: a.fetchToken, Timeout: 2 * timeout, Logger: o.Logger})
	a.swaps = renew.NewMemo[*auth.Token](cacheSize, 2*timeout)
	a.life = lifecycle.NewPlugin("auth", lifecycle.Hooks{Check: o.validate, Open: a.open, Close: func() error { return a.group.Stop(lifecycle.FlushTimeout) }})
	return a
}

// Start implements auth.Auth.
func (a *Auth) Start() error { return a.life.Start() }

// Stop implements auth.Auth.
func (a *Auth) Stop() error { return a.life.Stop() }

// String implements auth.Auth.
func (a *Auth) String() string { return "oauth2" }

// ServiceName returns the service that the wrappers decide for.
func (a *Auth) ServiceName() string { return a.opts.Service }

func (a *Auth) open(ctx context.Context) error {
	a.provider.Open()
	loops := []func(context.Context){a.provider.Loop}
	if a.opts.Id != "" {
		a.mine.Open()
		a.each.Open(ctx)
		loops = append(loops, a.mine.Loop, a.each.Loop)
	}
	return a.group.Start(loops...)
}

// Token implements auth.Auth.
func (a *Auth) Token() (*auth.Token, error) {
	if err := a.life.Use(context.Background()); err != nil {
		return nil, err
	}
	if a.opts.Id == "" {
		return nil, fmt.Errorf("own token: %w: there is no option Id", auth.ErrInvalidToken)
	}
	return a.mine.Get()
}

// Authorized implements auth.Auth. With Introspection it may wait for the
// provider.
func (a *Auth) Authorized(ctx context.Context, req auth.Request) (*auth.Token, error) {
	token, err := a.inContext(ctx)
	if err != nil {
		return nil, err
	}
	return a.Verify(ctx, token, req)
}

func (a *Auth) inContext(ctx context.Context) (string, error) {
	t, ok := a.FromContext(ctx)
	if !ok || t.TokenType != "" && !strings.EqualFold(t.TokenType, auth.Bearer) {
		return "", fmt.Errorf("%w: no bearer token", auth.ErrInvalidToken)
	}
	return t.AccessToken, nil
}

// Verify implements auth.Verifier.
func (a *Auth) Verify(ctx context.Context, accessToken string, req auth.Request) (*auth.Token, error) {
	good, err := a.check(ctx, accessToken)
	if err != nil {
		return nil, err
	}
	if !a.isFor(good, req) {
		return nil, errOther
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
	good, err := a.check(ctx, token)
	if err != nil {
		return nil, err
	}
	// The wrappers have already checked the audience of a caller's token, which
	// may be a topic.
	if caller, ok := auth.TokenFromContext(ctx); (!ok || caller.AccessToken != token) && !a.isFor(good, self(a.opts.Service)) {
		return nil, errOther
	}
	p, err := a.provider.Await(ctx)
	if err != nil || p.Introspection == "" || a.opts.Id == "" {
		return good.token, nil // the local verdict counts
	}
	told, err := a.ask(ctx, p, a.askingAgain, token)
	if errors.Is(err, auth.ErrInvalidToken) {
		return nil, err
	}
	if err == nil {
		told.bind(good)
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
	if err := a.life.Use(context.Background()); err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	p, err := a.provider.Get()
	if err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	if p.Revocation == "" || a.opts.Id == "" {
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
