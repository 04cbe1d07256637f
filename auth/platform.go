package auth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

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
	opts   options
	remote *remote
	own    *renew.Renewer[*Token]
	group  lifecycle.Group
	heard  atomic.Bool // the stream of keys, rules and revocations is up
	saved  *snapshot
	stop   func() error
}

func newPlatform(opts []Option) *platform {
	o := newOptions(opts)
	p := &platform{opts: o, remote: newRemote(o), verifier: newVerifier(o.audience, o.issuer, o.now)}
	p.own = renew.New(renew.Config[*Token]{Name: "own token", Fetch: p.remote.fetchToken, Logger: o.logger})
	p.saved = &snapshot{path: o.snapshot, verifier: p.verifier, log: o.logger, dirty: make(chan struct{}, 1)}
	p.stop = sync.OnceValue(p.shutdown)
	return p
}

func (p *platform) String() string { return "platform" }

// ServiceName is the service that the wrappers decide for.
func (p *platform) ServiceName() string { return p.opts.service }

// Start implements Auth.
func (p *platform) Start() error {
	if err := p.opts.validate(); err != nil {
		return err
	}
	if p.group.Running() {
		return nil
	}
	if err := p.saved.load(); err != nil {
		return fmt.Errorf("auth: option Snapshot: %w", err)
	}
	var loops []func(context.Context)
	if p.opts.id != "" {
		p.remote.open()
		p.own.Open()
		loops = append(loops, p.own.Loop, p.watch)
	}
	if p.opts.snapshot != "" {
		loops = append(loops, p.saved.loop)
	}
	if err := p.group.Start(loops...); err != nil {
		return fmt.Errorf("start auth: %w", err)
	}
	return nil
}

// Following tells whether auth-srv can be heard of now: while it cannot, the
// tokens of callers run out without being renewed.
func (p *platform) Following() bool { return p.heard.Load() }

// Stop implements Auth.
func (p *platform) Stop() error { return p.stop() }

func (p *platform) shutdown() error {
	err := p.group.Stop(lifecycle.FlushTimeout)
	p.remote.held.Close()
	if err != nil {
		return fmt.Errorf("stop auth: %w", err)
	}
	return nil
}

// Token implements Auth.
func (p *platform) Token() (*Token, error) {
	if p.opts.id == "" {
		return nil, fmt.Errorf("own token: %w: there is no option Id", ErrInvalidToken)
	}
	return p.own.Get()
}

// Renew has the own token replaced: somebody refused it.
func (p *platform) Renew() { p.own.Renew() }

// Authorized implements Auth.
func (p *platform) Authorized(ctx context.Context, req Request) (*Token, error) {
	token, err := p.inContext(ctx)
	if err != nil {
		return nil, err
	}
	return p.Verify(token, req)
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
	_, good, err := p.check(token)
	if err != nil {
		return nil, err
	}
	err = p.remote.introspect(ctx, token)
	if err != nil && !errors.Is(err, ErrUnavailable) {
		return nil, err
	}
	return good.token, nil
}

// Revoke implements Auth.
func (p *platform) Revoke(t *Token) error {
	if t == nil || t.AccessToken == "" && t.RefreshToken == "" {
		return fmt.Errorf("revoke: %w: no token", ErrInvalid)
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
