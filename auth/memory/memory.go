// Package memory is an Auth that issues, verifies and decides within one
// process: for tests of services, and for programs of one process. Its tokens
// are random names that only it knows.
package memory

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/internal/policy"
	"github.com/micro/go-platform/auth/plugin"
	"github.com/micro/go-platform/internal/lifecycle"
)

// Auth implements auth.Auth and auth.Verifier.
type Auth struct {
	auth.Carrier
	life     *lifecycle.Plugin
	opts     auth.Options
	account  Account
	lifetime time.Duration

	mu     sync.RWMutex
	tokens map[string]*issued
	rules  *policy.Set
	own    map[string]*auth.Token // by audience
	swaps  map[swap]*auth.Token
}

// swap is a token that was exchanged for another.
type swap struct{ token, audience string }

type issued struct {
	token   *auth.Token
	account Account
	client  string // the account that was given it
	revoked bool   // kept until it expires, to say so
}

// Account is an account that tokens are issued for.
type Account struct {
	ID     string
	Type   string // "service" or "user"; empty: "service"
	Roles  []string
	Scopes []string
}

// Lifetime is how long tokens are good.
const Lifetime = time.Hour

// maxTokens bounds what is kept; the expired go first.
const maxTokens = 100_000

// NewAuth returns an Auth for the service of the option auth.Service, whose own
// account has the name of auth.Id, or the service's, and auth.Scopes. No secret
// is needed.
func NewAuth(opts ...auth.Option) *Auth {
	rules, err := policy.Compile(nil)
	if err != nil {
		panic(err) // of no rules, none can be wrong
	}
	o := auth.NewOptions(opts...)
	if o.Id == "" {
		o.Id = o.Service
	}
	if o.Secret == "" {
		o.Secret = "none" // nobody is asked for it
	}
	a := &Auth{opts: o, account: Account{ID: o.Id, Scopes: o.Scopes}, lifetime: Lifetime, tokens: map[string]*issued{}, rules: rules}
	a.life = lifecycle.NewPlugin("auth", lifecycle.Hooks{Check: o.Validate})
	return a
}

// SetRules replaces the rules; an error names what is wrong with one of them.
func (a *Auth) SetRules(rules ...auth.Rule) error {
	set, err := policy.Compile(plugin.Rules(rules...))
	if err != nil {
		return fmt.Errorf("auth/memory: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rules = set
	return nil
}

// Issue returns a new token of an account for this service.
func (a *Auth) Issue(account Account) (*auth.Token, error) {
	return a.IssueFor(account, a.opts.Service)
}

// IssueFor returns a new token of an account for an audience: a service, or
// auth.TopicAudience of a topic.
func (a *Auth) IssueFor(account Account, audience string) (*auth.Token, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.issue(account, audience)
}

func (a *Auth) issue(account Account, audience string) (*auth.Token, error) {
	if account.ID == "" {
		return nil, fmt.Errorf("issue: %w: an account without ID", auth.ErrInvalid)
	}
	if account.Type == "" {
		account.Type = "service"
	}
	if len(a.tokens) >= maxTokens {
		a.sweep()
	}
	if len(a.tokens) >= maxTokens {
		return nil, fmt.Errorf("issue: %w: %d tokens are out", auth.ErrLimited, maxTokens)
	}
	account.Roles, account.Scopes = slices.Clone(account.Roles), slices.Clone(account.Scopes)
	id := rand.Text()
	t := &auth.Token{
		AccessToken: rand.Text() + rand.Text(), TokenType: auth.Bearer, ExpiresAt: time.Now().Add(a.lifetime), Scopes: account.Scopes,
		Audience: []string{audience},
		Metadata: map[string]string{
			"sub": account.ID, "client_id": account.ID, "type": account.Type, "roles": strings.Join(account.Roles, " "), "jti": id, "sid": id, "iss": "memory",
		},
	}
	a.tokens[t.AccessToken] = &issued{token: t, account: account, client: account.ID}
	return t, nil
}

func (a *Auth) sweep() {
	now := time.Now()
	for key, one := range a.tokens {
		if one.revoked || now.After(one.token.ExpiresAt) {
			delete(a.tokens, key)
		}
	}
	maps.DeleteFunc(a.swaps, func(_ swap, t *auth.Token) bool { return a.tokens[t.AccessToken] == nil })
}

// Start implements auth.Auth.
func (a *Auth) Start() error { return a.life.Start() }

// Stop implements auth.Auth.
func (a *Auth) Stop() error { return a.life.Stop() }

// String implements auth.Auth.
func (a *Auth) String() string { return "memory" }

// ServiceName returns the service that the wrappers decide for.
func (a *Auth) ServiceName() string { return a.opts.Service }

// Token implements auth.Auth.
func (a *Auth) Token() (*auth.Token, error) { return a.TokenFor(auth.ServiceName) }

// TokenFor implements auth.Source.
func (a *Auth) TokenFor(audience string) (*auth.Token, error) {
	if err := a.life.Use(context.Background()); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if t := a.own[audience]; t != nil && time.Until(t.ExpiresAt) > a.lifetime/4 {
		return t, nil
	}
	t, err := a.issue(a.account, audience)
	if err != nil {
		return nil, err
	}
	if a.own == nil || len(a.own) >= maxOwn {
		a.own = map[string]*auth.Token{}
	}
	a.own[audience] = t
	return t, nil
}

// maxOwn bounds the audiences of own tokens.
const maxOwn = 1024

// RenewFor replaces the own token for an audience, because a receiver refused
// it.
func (a *Auth) RenewFor(audience string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.own, audience)
}

// Exchange implements auth.Exchanger: a token that was for this service or given
// to its own account becomes one of the same account for the audience.
func (a *Auth) Exchange(ctx context.Context, t *auth.Token, audience string) (*auth.Token, error) {
	if t == nil || t.AccessToken == "" {
		return nil, fmt.Errorf("exchange a token: %w: no access token", auth.ErrInvalid)
	}
	if err := a.life.Use(ctx); err != nil {
		return nil, fmt.Errorf("exchange a token: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	one, err := a.find(t.AccessToken)
	switch {
	case err != nil:
		return nil, fmt.Errorf("exchange a token: %w", err)
	case slices.Contains(one.token.Audience, audience):
		return t, nil
	case !slices.Contains(one.token.Audience, a.opts.Service) && one.client != a.account.ID:
		return nil, fmt.Errorf("exchange a token: %w", errOther)
	}
	key := swap{t.AccessToken, audience}
	if made := a.swaps[key]; made != nil {
		if _, err := a.find(made.AccessToken); err == nil {
			return made, nil
		}
	}
	made, err := a.issue(one.account, audience)
	if err != nil {
		return nil, err
	}
	made.Metadata["act"], made.Metadata["client_id"] = a.account.ID, a.account.ID
	made.ExpiresAt = one.token.ExpiresAt
	a.tokens[made.AccessToken].client = a.account.ID
	if a.swaps == nil {
		a.swaps = map[swap]*auth.Token{}
	}
	a.swaps[key] = made
	return made, nil
}

// Authorized implements auth.Auth.
func (a *Auth) Authorized(ctx context.Context, req auth.Request) (*auth.Token, error) {
	token, err := a.inContext(ctx)
	if err != nil {
		return nil, err
	}
	return a.Verify(ctx, token, req)
}

var (
	errUnknown = fmt.Errorf("%w: unknown", auth.ErrInvalidToken)
	errExpired = fmt.Errorf("%w: expired", auth.ErrInvalidToken)
	errRevoked = fmt.Errorf("%w: revoked", auth.ErrInvalidToken)
	errOther   = fmt.Errorf("%w: for another audience", auth.ErrInvalidToken)
)

// find returns what a good token was issued for. It needs the lock.
func (a *Auth) find(token string) (*issued, error) {
	one := a.tokens[token]
	switch {
	case one == nil:
		return nil, errUnknown
	case one.revoked:
		return nil, errRevoked
	case time.Now().After(one.token.ExpiresAt):
		return nil, errExpired
	}
	return one, nil
}

// isFor reports whether the audience of a token fits req.
func (a *Auth) isFor(one *issued, req auth.Request) bool {
	if aimed, ok := req.(auth.Aimed); ok {
		return slices.Contains(one.token.Audience, aimed.Audience())
	}
	return slices.Contains(one.token.Audience, a.opts.Service) ||
		one.client == a.account.ID && slices.Contains(one.token.Audience, req.Service())
}

func (a *Auth) inContext(ctx context.Context) (string, error) {
	t, ok := a.FromContext(ctx)
	if !ok || t.TokenType != "" && !strings.EqualFold(t.TokenType, auth.Bearer) {
		return "", fmt.Errorf("%w: no bearer token", auth.ErrInvalidToken)
	}
	return t.AccessToken, nil
}

// Verify implements auth.Verifier.
func (a *Auth) Verify(_ context.Context, accessToken string, req auth.Request) (*auth.Token, error) {
	a.mu.RLock()
	one, err := a.find(accessToken)
	rules := a.rules
	a.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	if !a.isFor(one, req) {
		return nil, errOther
	}
	call := policy.Call{
		Account: one.account.ID, Roles: one.account.Roles, Scopes: one.account.Scopes, Service: req.Service(), Method: req.Method(),
	}
	if d := rules.Decide(&call); !d.Allowed {
		return nil, fmt.Errorf("%w: %.128q may not call %.256q of %.256q: %s", auth.ErrForbidden, call.Account, call.Method, call.Service, d.Reason)
	}
	return one.token, nil
}

// Introspect implements auth.Auth.
func (a *Auth) Introspect(ctx context.Context) (*auth.Token, error) {
	token, err := a.inContext(ctx)
	if err != nil {
		return nil, err
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	one, err := a.find(token)
	if err != nil {
		return nil, err
	}
	return one.token, nil
}

// Revoke implements auth.Auth.
func (a *Auth) Revoke(t *auth.Token) error {
	if t == nil || t.AccessToken == "" {
		return fmt.Errorf("revoke: %w: no access token", auth.ErrInvalid)
	}
	if err := a.life.Use(context.Background()); err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.end(t.AccessToken)
	maps.DeleteFunc(a.own, func(_ string, own *auth.Token) bool { return own.AccessToken == t.AccessToken })
	for key, made := range a.swaps { // what it was exchanged for ends with it
		if key.token == t.AccessToken {
			a.end(made.AccessToken)
			delete(a.swaps, key)
		}
	}
	return nil
}

// end needs the lock.
func (a *Auth) end(token string) {
	if one := a.tokens[token]; one != nil {
		one.revoked = true
	}
}
