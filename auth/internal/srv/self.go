package srv

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpcerr"
)

// self is the plugin of auth of this service, which need not ask anybody.
type self struct {
	auth.Carrier
	*feed

	mu  sync.Mutex
	own map[string]minted // by audience
}

// minted is a token and the time until which it is fresh.
type minted struct {
	token *auth.Token
	fresh time.Time
}

// maxOwn bounds the audiences of this service's own tokens: it calls its
// registry and nobody else.
const maxOwn = 16

// self returns what authenticates callers and gives this service's own calls,
// those of its registry, a token.
func (f *feed) self(identity tls.Certificate) daemon.Issuer {
	return daemon.Issuer{Identity: identity, Authenticate: f.guard, Judge: f.judge, Identify: auth.ClientWrapper(&self{feed: f})}
}

// Token implements auth.Auth.
func (s *self) Token() (*auth.Token, error) { return s.TokenFor(auth.ServiceName) }

// TokenFor implements auth.Source. The token is of an account in no store: nobody
// can enrol, log in or be made under the name of this service.
func (s *self) TokenFor(audience string) (*auth.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if kept, ok := s.own[audience]; ok && now.Before(kept.fresh) {
		return kept.token, nil
	}
	raw, c, err := s.mint(issuing{
		subject: &account{id: auth.ServiceName, kind: "service", roles: []string{RolePlatform}},
		client:  auth.ServiceName, scopes: []string{ScopeService}, audience: audience,
	})
	if err != nil {
		return nil, fmt.Errorf("own token: %w", err)
	}
	if s.own == nil || len(s.own) >= maxOwn {
		s.own = map[string]minted{}
	}
	made := minted{c.token(raw), now.Add(s.rotation.lifetime / 2)}
	s.own[audience] = made
	return made.token, nil
}

// RenewFor implements auth.Source: somebody refused the token.
func (s *self) RenewFor(audience string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.own, audience)
}

// Authorized implements auth.Auth. Policies do not bind this service, see guard.
func (s *self) Authorized(ctx context.Context, _ auth.Request) (*auth.Token, error) {
	return s.Introspect(ctx)
}

// Introspect implements auth.Auth.
func (s *self) Introspect(ctx context.Context) (*auth.Token, error) {
	t, ok := s.FromContext(ctx)
	if !ok {
		return nil, errToken
	}
	c, err := s.authenticate(ctx, t.AccessToken)
	if err != nil {
		return nil, err
	}
	return c.token(t.AccessToken), nil
}

// Revoke implements auth.Auth.
func (s *self) Revoke(*auth.Token) error {
	return fmt.Errorf("revoke: %w: this is %s itself", rpcerr.ErrInvalid, auth.ServiceName)
}

// Start implements auth.Auth.
func (s *self) Start() error { return nil }

// Stop implements auth.Auth.
func (s *self) Stop() error { return nil }

// String implements auth.Auth.
func (s *self) String() string { return auth.ServiceName }

// token is the access token that says what c does.
func (c *claims) token(raw string) *auth.Token {
	return &auth.Token{
		AccessToken: raw, TokenType: auth.Bearer, ExpiresAt: time.Unix(c.Expires, 0), Scopes: c.scopes(), Metadata: c.metadata(),
		Audience: c.Audience,
	}
}
