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
	opts   Options
	remote *remote
	own    *renew.Renewer[*Token]
	group  lifecycle.Group
	heard  atomic.Bool   // the stream of keys, rules and revocations is up
	tried  chan struct{} // closed when something, or that nobody answers, was heard
	saved  *snapshot
}

func newPlatform(opts []Option) *platform {
	o := NewOptions(opts...)
	p := &platform{opts: o, remote: newRemote(o), verifier: newVerifier(o.Audience, o.Issuer, o.now), tried: make(chan struct{})}
	p.own = renew.New(renew.Config[*Token]{Name: "own token", Fetch: p.remote.fetchToken, Logger: o.Logger})
	p.saved = &snapshot{path: o.SnapshotFile, verifier: p.verifier, log: o.Logger, dirty: make(chan struct{}, 1)}
	p.Plugin = lifecycle.NewPlugin("auth", lifecycle.Hooks{Check: o.Validate, Open: p.open, Close: p.close})
	return p
}

func (p *platform) String() string { return "platform" }

// ServiceName is the service that the wrappers decide for.
func (p *platform) ServiceName() string { return p.opts.Service }

func (p *platform) open(context.Context) error {
	if err := p.saved.load(); err != nil {
		return fmt.Errorf("auth: option SnapshotFile: %w", err)
	}
	var loops []func(context.Context)
	if p.opts.Id != "" {
		p.remote.open()
		p.own.Open()
		loops = append(loops, p.own.Loop, p.watch)
	} else {
		close(p.tried)
	}
	if p.opts.SnapshotFile != "" {
		loops = append(loops, p.saved.loop)
	}
	return p.group.Start(loops...)
}

// Following reports whether auth-srv can be heard of now: while it cannot, the
// tokens of callers run out without being renewed.
func (p *platform) Following() bool { return p.heard.Load() }

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
// attempt to get them has failed: who was just started shall not refuse those
// who call already.
func (p *platform) begin(ctx context.Context) {
	if p.Use(ctx) != nil {
		return // what was stopped, or cannot start, knows no keys
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
	if err := p.Use(context.Background()); err != nil {
		return nil, err
	}
	if p.opts.Id == "" {
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
