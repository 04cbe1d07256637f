package auth

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/micro/go-platform/auth/internal/renew"
	"github.com/micro/go-platform/internal/lifecycle"
)

// NewAuth returns the default plugin. It gets its own token from
// go.micro.srv.auth, follows the keys, rules and revocations of it by one
// stream, and decides by itself.
func NewAuth(opts ...Option) Auth { return newPlatform(opts) }

type platform struct {
	Carrier
	*verifier
	*lifecycle.Plugin
	opts     Options
	remote   *remote
	own      *renew.Renewer[*ownToken] // for go.micro.srv.auth
	owns     *renew.Keyed[*ownToken]   // by audience: the services and topics in use
	swaps    *renew.Memo[*Token]
	group    lifecycle.Group
	whole    bool                     // the stream begins with all rules, whatever is known; of watch alone
	heard    atomic.Bool              // the stream of keys, rules and revocations is up
	followed atomic.Pointer[ownToken] // that the last stream began with
	tried    chan struct{}            // closed by the first answer, or the first failure to get one
	saved    *snapshot
	reports  time.Duration // between reports; shorter in tests
	asks     time.Duration // between questions for names that were refused; shorter in tests

	decided *decided
	trouble atomic.Pointer[error] // why rules are not followed, or not all
}

func newPlatform(opts []Option) *platform {
	o := NewOptions(opts...)
	p := &platform{opts: o, remote: newRemote(o), verifier: newVerifier(&o), tried: make(chan struct{}), decided: newDecided(o.Service)}
	fetch := func(ctx context.Context) (*ownToken, time.Duration, error) { return p.fetchOwn(ctx, ServiceName) }
	p.own = renew.New(renew.Config[*ownToken]{Name: "own token", Fetch: fetch, Logger: o.Logger})
	p.owns = renew.NewKeyed(renew.KeyedConfig[*ownToken]{Name: "own token for", Fetch: p.fetchOwn, Logger: o.Logger})
	p.swaps = renew.NewMemo[*Token](cacheSize, callTimeout)
	p.reports, p.asks = reportEvery, askEvery
	p.saved = &snapshot{path: o.SnapshotFile, verifier: p.verifier, log: o.Logger, dirty: make(chan struct{}, 1)}
	p.Plugin = lifecycle.NewPlugin("auth", lifecycle.Hooks{Check: o.Validate, Open: p.open, Close: p.close})
	return p
}

func (p *platform) String() string { return "platform" }

// ServiceName returns the service that the wrappers decide for.
func (p *platform) ServiceName() string { return p.opts.Service }

func (p *platform) open(ctx context.Context) error {
	if err := p.saved.load(); err != nil {
		return fmt.Errorf("auth: option SnapshotFile: %w", err)
	}
	var loops []func(context.Context)
	if p.opts.Id != "" {
		p.remote.open()
		p.own.Open()
		p.owns.Open(ctx)
		loops = append(loops, p.own.Loop, p.owns.Loop, p.watch, p.tell)
	} else {
		close(p.tried)
	}
	if p.opts.SnapshotFile != "" {
		loops = append(loops, p.saved.loop)
	}
	return p.group.Start(loops...)
}

// Following reports whether the stream from auth-srv is up. While it is down,
// the tokens of callers may expire without being renewed.
func (p *platform) Following() bool { return p.heard.Load() }

// Account returns an ErrInvalidToken while the issuer rejects the service's
// credentials: the account was deleted or disabled, or has another secret. It
// is for readiness checks; callers may still be served by what was known
// before.
func (p *platform) Account() error {
	if err := p.own.Err(); errors.Is(err, ErrInvalidToken) {
		return err
	}
	return nil
}

func (p *platform) close() error {
	err := p.group.Stop(lifecycle.FlushTimeout)
	p.remote.held.Close()
	if err != nil {
		return fmt.Errorf("stop auth: %w", err)
	}
	return nil
}

// Verify implements Verifier.
func (p *platform) Verify(ctx context.Context, accessToken string, req Request) (*Token, error) {
	if p.state.Load() == nil {
		p.begin(ctx)
	}
	return p.verify(accessToken, req)
}

// firstWait bounds how long a check waits for the first keys.
const firstWait = 2 * time.Second

// begin starts the plugin and waits for its first keys, or until the first
// attempt to get them has failed: a service that has just started must not
// refuse callers that it can verify a moment later.
func (p *platform) begin(ctx context.Context) {
	if p.Use(ctx) != nil {
		return // it gets no keys when it is stopped or cannot start
	}
	timer := time.NewTimer(firstWait)
	defer timer.Stop()
	select {
	case <-p.tried:
	case <-p.Life().Done():
	case <-ctx.Done():
	case <-timer.C:
	}
}

// Token implements Auth.
func (p *platform) Token() (*Token, error) {
	if err := p.identified(); err != nil {
		return nil, err
	}
	own, err := p.own.Get()
	if err != nil {
		return nil, err
	}
	return own.Token, nil
}

// Authorized implements Auth.
func (p *platform) Authorized(ctx context.Context, req Request) (*Token, error) {
	token, err := p.inContext(ctx)
	if err != nil {
		return nil, err
	}
	return p.Verify(ctx, token, req)
}

func (p *platform) inContext(ctx context.Context) (string, error) {
	t, ok := p.FromContext(ctx)
	if !ok {
		return "", errNoToken
	}
	token, ok := bearer(t)
	if !ok {
		return "", fmt.Errorf("%w: not a bearer token", ErrInvalidToken)
	}
	return token, nil
}

var errNoToken = fmt.Errorf("%w: no token", ErrInvalidToken)

// Introspect implements Auth.
func (p *platform) Introspect(ctx context.Context) (*Token, error) {
	token, err := p.inContext(ctx)
	if err != nil {
		return nil, err
	}
	if p.state.Load() == nil {
		p.begin(ctx)
	}
	_, good, err := p.check(token)
	if err != nil {
		return nil, err
	}
	// The wrappers have already checked the audience of a caller's token, which
	// may be a topic.
	if caller, ok := TokenFromContext(ctx); (!ok || caller.AccessToken != token) && !p.isMeant(good, own(p.opts.Service)) && good.client != p.opts.Id {
		return nil, p.other(own(p.opts.Service))
	}
	err = p.remote.introspect(ctx, token)
	if err != nil && !errors.Is(err, ErrUnavailable) {
		return nil, err
	}
	return good.token, nil
}

// own is a request to this service.
type own string

func (o own) Service() string { return string(o) }
func (own) Method() string    { return "" }

// Revoke implements Auth.
func (p *platform) Revoke(t *Token) error {
	if t == nil || t.AccessToken == "" && t.RefreshToken == "" {
		return fmt.Errorf("revoke: %w: no token", ErrInvalid)
	}
	if err := p.Use(context.Background()); err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	own, err := p.Token()
	if err != nil && t.AccessToken == "" {
		return fmt.Errorf("revoke: %w", err)
	}
	err = p.remote.revoke(t, own)
	if err == nil && t.AccessToken != "" {
		p.forget(t.AccessToken)
	}
	return err
}
