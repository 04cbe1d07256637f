package auth

import (
	"context"
	"fmt"
	"time"

	"github.com/micro/go-platform/auth/internal/jwt"
)

// ownToken is a token of the service's own account.
type ownToken struct {
	*Token
	marks marks
}

func (p *platform) fetchOwn(ctx context.Context, audience string) (*ownToken, time.Duration, error) {
	t, lifetime, err := p.remote.fetchToken(ctx, audience)
	if err != nil {
		return nil, 0, err
	}
	var c claims
	_ = jwt.Peek(t.AccessToken, &c) // what cannot be read is not known to be revoked
	return &ownToken{t, c.marks()}, lifetime, nil
}

// identified returns an error unless the plugin runs and has an account for own
// tokens.
func (p *platform) identified() error {
	if err := p.Use(context.Background()); err != nil {
		return err
	}
	if p.opts.Id == "" {
		return fmt.Errorf("own token: %w: there is no option Id", ErrInvalidToken)
	}
	return nil
}

// TokenFor implements Source.
func (p *platform) TokenFor(audience string) (*Token, error) {
	if err := p.identified(); err != nil {
		return nil, err
	}
	if audience == ServiceName {
		return p.Token()
	}
	own, err := p.owns.Get(p.aim(audience))
	if err != nil {
		return nil, err
	}
	return own.Token, nil
}

// aim returns the audience to ask tokens for: the shared one, if there is one.
func (p *platform) aim(audience string) string {
	if p.opts.Audience != "" && audience != ServiceName {
		return p.opts.Audience
	}
	return audience
}

// RenewIfUsed replaces an own token that a receiver refused, unless there is another
// one for its audience already. It does not wait.
func (p *platform) RenewIfUsed(t *Token) {
	if now, ok := p.own.Peek(); ok && now.Token == t {
		p.own.Renew()
	}
	p.owns.RenewIf(func(o *ownToken) bool { return o.Token == t })
}

// Exchange implements Exchanger.
func (p *platform) Exchange(ctx context.Context, t *Token, audience string) (*Token, error) {
	if t == nil || t.AccessToken == "" {
		return nil, fmt.Errorf("exchange a token: %w: no access token", ErrInvalid)
	}
	if err := p.identified(); err != nil {
		return nil, err
	}
	if mine, ok := p.own.Peek(); ok && mine.AccessToken == t.AccessToken {
		return p.TokenFor(audience)
	}
	audience = p.aim(audience)
	if IsFor(t, audience) {
		return t, nil
	}
	made, err := p.swaps.Get(ctx, audience+" "+t.AccessToken, func(ctx context.Context) (*Token, time.Duration, error) { // no token has a space
		return p.remote.exchange(ctx, t.AccessToken, audience)
	})
	if err != nil {
		return nil, fmt.Errorf("exchange a token: %w", err)
	}
	return made, nil
}
