package authtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/micro/go-platform/auth"
)

// A service that has just started refuses nobody whom it can verify a moment
// later, however many come at once.
func firstMoment(t *testing.T, f *Fixture) {
	token := f.Token(t, "suite.first")
	f.start(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := f.authorize(token, "Suite.Call"); err != nil {
				t.Errorf("right after Start: %v", err)
			}
		})
	}
	all.Wait()
}

// What takes a token takes none as well, and says so.
func noToken(t *testing.T, f *Fixture) {
	f.ready(t)
	a, ctx := f.Auth, context.Background()
	for name, none := range map[string]*auth.Token{"nil": nil, "empty": {}} {
		if err := a.Revoke(none); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: Revoke: %v", name, err)
		}
		if x, ok := a.(auth.Exchanger); ok {
			if _, err := x.Exchange(ctx, none, Other); !errors.Is(err, auth.ErrInvalid) {
				t.Errorf("%s: Exchange: %v", name, err)
			}
		}
		if n, ok := a.(auth.Names); ok {
			if err := n.Holds(none, Service); err == nil {
				t.Errorf("%s: Holds", name)
			}
		}
		if _, err := a.Authorized(a.NewContext(ctx, none), request{Service, "Suite.Call"}); !errors.Is(err, auth.ErrInvalidToken) {
			t.Errorf("%s: Authorized: %v", name, err)
		}
		if _, err := a.Introspect(a.NewContext(ctx, none)); !errors.Is(err, auth.ErrInvalidToken) {
			t.Errorf("%s: Introspect: %v", name, err)
		}
		if made := a.NewHeader(nil, none); len(made) != 0 {
			t.Errorf("%s: NewHeader: %v", name, made)
		}
		if got := none.Account(); got != "" {
			t.Errorf("%s: Account: %q", name, got)
		}
	}
	if auth.IsFor(nil, Service) {
		t.Error("no token is for a service")
	}
}

// After Stop nothing is asked for and nothing is made.
func stopped(t *testing.T, f *Fixture) {
	f.ready(t)
	token := &auth.Token{AccessToken: f.Token(t, "suite.late"), TokenType: auth.Bearer}
	if err := f.Auth.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := f.Auth.Revoke(token); !errors.Is(err, auth.ErrStopped) {
		t.Errorf("Revoke: %v", err)
	}
	if x, ok := f.Auth.(auth.Exchanger); ok {
		if _, err := x.Exchange(context.Background(), token, Other); !errors.Is(err, auth.ErrStopped) {
			t.Errorf("Exchange: %v", err)
		}
	}
	if s, ok := f.Auth.(auth.Source); ok {
		if _, err := s.TokenFor(Other); !errors.Is(err, auth.ErrStopped) {
			t.Errorf("TokenFor: %v", err)
		}
	}
}

// A refusal says what is wrong with the token, and holds nothing of it.
func reasons(t *testing.T, f *Fixture) {
	f.ready(t)
	ended := f.Token(t, "suite.ended")
	if _, err := f.authorize(ended, "Suite.Call"); err != nil {
		t.Fatal(err)
	}
	if err := f.Auth.Revoke(&auth.Token{AccessToken: ended, TokenType: auth.Bearer}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		token string
		says  []string // one of them
	}{
		"revoked":          {ended, []string{"revoked"}},
		"another issuer's": {NewIssuer(t).Token("suite.forged", nil), []string{"signature", "unknown", "not an access token"}},
		"garbage":          {"garbage", []string{"not a signed token", "unknown", "not active"}},
	} {
		_, err := f.authorize(c.token, "Suite.Call")
		says := func(why string) bool { return strings.Contains(fmt.Sprint(err), why) }
		if !errors.Is(err, auth.ErrInvalidToken) || !slices.ContainsFunc(c.says, says) || len(c.token) > 20 && says(c.token[:20]) {
			t.Errorf("%s: %v, want one of %q", name, err, c.says)
		}
	}
	_, err := f.Auth.Authorized(context.Background(), request{Service, "Suite.Call"})
	if !errors.Is(err, auth.ErrInvalidToken) || !strings.Contains(err.Error(), "no ") {
		t.Errorf("none: %v", err)
	}
}
