package oauth2

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/internal/jwt"
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
		var err error
		if p, err = a.begin(ctx); err != nil {
			return nil, err
		}
	}
	if a.rules == nil {
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

// firstWait bounds how long a check waits for the first keys.
const firstWait = 2 * time.Second

// begin starts the plugin and returns the first keys. A ctx that has ended waits
// for nothing: a guard asks in the goroutine that reads the connection.
func (a *Auth) begin(ctx context.Context) (*provider, error) {
	if err := a.life.Use(ctx); err != nil {
		return nil, fmt.Errorf("tokens cannot be verified: %w: %w", auth.ErrUnavailable, err)
	}
	ctx, cancel := context.WithTimeout(ctx, firstWait)
	defer cancel()
	p, err := a.provider.Await(ctx)
	if err != nil {
		return nil, fmt.Errorf("tokens cannot be verified yet: %w", err)
	}
	return p, nil
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
		return a.verifyAsked(ctx, p, raw, good, before)
	}
	return good, a.keep(p, raw, good)
}

// keep remembers a token that is good.
func (a *Auth) keep(p *provider, raw string, good *verified) error {
	if err := a.still(p, good); err != nil {
		return err
	}
	good.judged = p
	a.cache.Put(raw, good)
	return nil
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
