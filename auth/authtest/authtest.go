package authtest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/internal/lifecycle/lifecycletest"
)

// Fixture is a plugin under test and its issuer.
type Fixture struct {
	// Auth is not started. Its own account is Own, its service "suite".
	Auth auth.Auth
	Own  string
	// Token returns a good access token of a new account with the scopes, for the
	// service.
	Token func(t testing.TB, account string, scopes ...string) string
	// TokenFor returns a good access token for another audience, for
	// RunAudience.
	TokenFor func(t testing.TB, account, audience string) string
	// SetRules replaces the rules, for RunPolicy.
	SetRules func(t testing.TB, rules ...auth.Rule)
	// Within is how long the plugin may take to hear of a change. Default a minute.
	Within time.Duration
}

// request is what the suite asks for.
type request struct{ service, method string }

func (r request) Service() string { return r.service }
func (r request) Method() string  { return r.method }

// Service is the name of the service that the suite's plugins decide for.
const Service = "suite"

func (f *Fixture) authorize(token, method string) (*auth.Token, error) {
	ctx := f.Auth.NewContext(context.Background(), &auth.Token{AccessToken: token, TokenType: "Bearer"})
	return f.Auth.Authorized(ctx, request{Service, method})
}

// own returns the own token for the service itself.
func (f *Fixture) own() (*auth.Token, error) {
	if s, ok := f.Auth.(auth.Source); ok {
		return s.TokenFor(Service)
	}
	return f.Auth.Token()
}

func (f *Fixture) start(t *testing.T) {
	t.Helper()
	if err := f.Auth.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Auth.Stop() }) // tests that care look at the first Stop
}

func (f *Fixture) eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	within := f.Within
	if within == 0 {
		within = time.Minute
	}
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Errorf("not within %v: %s", within, what)
}

// Run checks that an Auth keeps the contract. Each call of fresh returns one of
// its own, with the options added to those that make it work.
func Run(t *testing.T, fresh func(t testing.TB, opts ...auth.Option) *Fixture) {
	t.Helper()
	for name, test := range map[string]func(t *testing.T, f *Fixture){
		"OwnToken": ownToken, "Carrier": carrier, "Good": good, "Bad": bad,
		"Revoke": revoke, "Introspect": introspect, "Wrappers": wrappers, "Concurrency": concurrency, "Streams": streams,
		"FirstMoment": firstMoment, "NoToken": noToken, "Stopped": stopped, "Reasons": reasons,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
	t.Run("Lifecycle", func(t *testing.T) {
		lifecycletest.Run(t, lifecycletest.Case[auth.Auth, auth.Option]{
			New:  func(tb testing.TB, opts ...auth.Option) auth.Auth { return fresh(tb, opts...).Auth },
			Call: func(a auth.Auth) error { _, err := a.Token(); return err },
			Bad:  auth.Scopes("a\nb"), Text: `auth: option Scopes: "a\nb" is not 1 to 128 printable bytes`,
			NilLogger: auth.Logger(nil),
		})
	})
}

func ownToken(t *testing.T, f *Fixture) {
	f.start(t)
	f.eventually(t, "an own token", func() bool { _, err := f.Auth.Token(); return err == nil })
	first, err := f.Auth.Token()
	if err != nil {
		t.Fatal(err)
	}
	if first.AccessToken == "" || !strings.EqualFold(first.TokenType, "Bearer") || !first.ExpiresAt.After(time.Now()) {
		t.Errorf("got type %q, expiring %v", first.TokenType, first.ExpiresAt)
	}
	if again, err := f.Auth.Token(); err != nil || again.AccessToken != first.AccessToken {
		t.Errorf("not cached: %v", err)
	}
	f.eventually(t, "the own token is good", func() bool {
		mine, err := f.own()
		if err != nil {
			return false
		}
		verified, err := f.authorize(mine.AccessToken, "Suite.Call")
		return err == nil && verified.Account() == f.Own
	})
}

func carrier(t *testing.T, f *Fixture) {
	a := f.Auth
	one := &auth.Token{AccessToken: "one", TokenType: "Bearer"}
	if _, ok := a.FromContext(context.Background()); ok {
		t.Error("a token in an empty context")
	}
	if got, ok := a.FromContext(a.NewContext(context.Background(), one)); !ok || got != one {
		t.Errorf("from the context: %v", got)
	}
	for _, key := range []string{"authorization", "Authorization", "AUTHORIZATION"} {
		md := map[string]string{key: "Bearer two", "x-other": "1"}
		if got, ok := a.FromHeader(md); !ok || got.AccessToken != "two" || got.TokenType != "Bearer" {
			t.Errorf("%s: %v", key, got)
		}
		if got, ok := a.FromContext(metadata.NewContext(context.Background(), md)); !ok || got.AccessToken != "two" {
			t.Errorf("%s in metadata: %v", key, got)
		}
		made := a.NewHeader(md, one) // in place
		if len(made) != 2 || made["authorization"] != "Bearer one" || made["x-other"] != "1" || len(md) != 2 {
			t.Errorf("%s: made %v of %v", key, made, md)
		}
		if made := a.NewHeader(md, nil); len(made) != 1 {
			t.Errorf("%s: no token made %v", key, made)
		}
	}
	if made := a.NewHeader(nil, one); made["authorization"] != "Bearer one" {
		t.Errorf("of nil: %v", made)
	}
	for name, md := range map[string]map[string]string{
		"nil": nil, "two spellings": {"authorization": "Bearer a", "Authorization": "Bearer a"}, "CR LF": {"authorization": "Bearer a\r\nx: y"},
		"no type": {"authorization": "a"}, "empty": {"authorization": ""}, "large": {"authorization": "Bearer " + strings.Repeat("a", 9<<10)},
	} {
		if got, ok := a.FromHeader(md); ok {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func good(t *testing.T, f *Fixture) {
	f.start(t)
	token := f.Token(t, "suite.good", "read", "write")
	var got *auth.Token
	f.eventually(t, "a good token is taken", func() (ok bool) {
		var err error
		got, err = f.authorize(token, "Suite.Call")
		return err == nil
	})
	if got == nil {
		t.FailNow()
	}
	if got.AccessToken != token || got.Account() != "suite.good" || len(got.Scopes) != 2 || !got.ExpiresAt.After(time.Now()) {
		t.Errorf("account %q, scopes %q, expires %v", got.Account(), got.Scopes, got.ExpiresAt)
	}
}

// ready waits until the plugin can verify.
func (f *Fixture) ready(t *testing.T) {
	t.Helper()
	f.start(t)
	token := f.Token(t, "suite.ready")
	f.eventually(t, "it verifies", func() bool {
		_, err := f.authorize(token, "Suite.Call")
		return err == nil || errors.Is(err, auth.ErrForbidden)
	})
}

func bad(t *testing.T, f *Fixture) {
	f.ready(t)
	token := f.Token(t, "suite.bad")
	other := NewIssuer(t)
	for name, bad := range map[string]string{
		"empty": "", "garbage": "garbage", "dots": "a.b.c", "another issuer's": other.Token("suite.bad", nil),
		"altered": token[:len(token)-5] + "AAAAA", "cut": token[:len(token)/2], "1 MB": strings.Repeat("a", 1<<20), "with a line break": token + "\n",
	} {
		if _, err := f.authorize(bad, "Suite.Call"); !errors.Is(err, auth.ErrInvalidToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.Auth.Authorized(context.Background(), request{Service, "Suite.Call"}); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("no token, perhaps the own was taken: %v", err)
	}
}

func revoke(t *testing.T, f *Fixture) {
	f.ready(t)
	if err := f.Auth.Revoke(nil); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("nil: %v", err)
	}
	token, other := f.Token(t, "suite.revoked"), f.Token(t, "suite.spared")
	if _, err := f.authorize(token, "Suite.Call"); err != nil {
		t.Fatal(err)
	}
	if err := f.Auth.Revoke(&auth.Token{AccessToken: token, TokenType: "Bearer"}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.authorize(token, "Suite.Call"); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("revoked: %v", err)
	}
	if _, err := f.authorize(other, "Suite.Call"); err != nil {
		t.Errorf("another: %v", err)
	}
}

func introspect(t *testing.T, f *Fixture) {
	f.ready(t)
	token := &auth.Token{AccessToken: f.Token(t, "suite.seen"), TokenType: "Bearer"}
	got, err := f.Auth.Introspect(f.Auth.NewContext(context.Background(), token))
	if err != nil || got.Account() != "suite.seen" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := f.Auth.Introspect(context.Background()); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("none: %v", err)
	}
	forged := &auth.Token{AccessToken: NewIssuer(t).Token("suite.seen", nil)}
	if _, err := f.Auth.Introspect(f.Auth.NewContext(context.Background(), forged)); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("forged: %v", err)
	}
}

// loop is a client that hands its calls to a handler.
type loop struct {
	client.Client
	handler server.HandlerFunc
}

func (l *loop) Call(ctx context.Context, req client.Request, rsp any, _ ...client.CallOption) error {
	md, _ := metadata.FromContext(ctx)
	return l.handler(metadata.NewContext(context.Background(), md), serverRequest{}, rsp)
}

// clientRequest is a call of a service.
type clientRequest struct {
	client.Request
	service string
}

func (r clientRequest) Service() string { return r.service }

type serverRequest struct{ server.Request }

func (serverRequest) Service() string           { return Service }
func (serverRequest) Method() string            { return "Suite.Call" }
func (serverRequest) Endpoint() string          { return "Suite.Call" }
func (serverRequest) Header() map[string]string { return nil }

func wrappers(t *testing.T, f *Fixture) {
	f.ready(t)
	var caller string
	var left metadata.Metadata
	l := &loop{handler: auth.HandlerWrapper(f.Auth, auth.As(Service))(func(ctx context.Context, _ server.Request, _ any) error {
		token, _ := auth.TokenFromContext(ctx)
		caller = token.Account()
		left, _ = metadata.FromContext(ctx)
		return nil
	})}
	c := auth.ClientWrapper(f.Auth)(l)
	ctx := metadata.NewContext(context.Background(), metadata.Metadata{"x-keep": "1", "Authorization": "Bearer inbound"})
	f.eventually(t, "a call with the own token", func() bool { return c.Call(ctx, clientRequest{service: Service}, nil) == nil })
	if caller != f.Own || len(left) != 1 || left["x-keep"] != "1" {
		t.Errorf("the handler saw %q and %v", caller, left)
	}
	chosen := f.Auth.NewContext(ctx, &auth.Token{AccessToken: f.Token(t, "suite.chosen"), TokenType: "Bearer"})
	if err := c.Call(chosen, clientRequest{service: Service}, nil); err != nil || caller != "suite.chosen" {
		t.Errorf("a chosen token: %q, %v", caller, err)
	}
	var e *merrors.Error
	err := l.Call(ctx, nil, nil) // past the client wrapper
	if !errors.As(err, &e) || e.Code != 401 || strings.Contains(err.Error(), "inbound") {
		t.Errorf("an inbound token that is bad: %v", err)
	}
}

func concurrency(t *testing.T, f *Fixture) {
	f.ready(t)
	token := f.Token(t, "suite.many")
	f.eventually(t, "it is taken", func() bool { _, err := f.authorize(token, "Suite.Call"); return err == nil })
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				if _, err := f.authorize(token, "Suite.Call"); err != nil {
					t.Error(err)
					return
				}
				_, _ = f.Auth.Token() // not all plugins have one; the race detector looks
			}
		})
	}
	all.Wait()
}

// RunPolicy checks that an Auth decides by rules.
func RunPolicy(t *testing.T, fresh func(t testing.TB, opts ...auth.Option) *Fixture) {
	t.Helper()
	f := fresh(t)
	f.ready(t)
	a, b, reader := f.Token(t, "suite.a"), f.Token(t, "suite.b"), f.Token(t, "suite.c", "read")
	if _, err := f.authorize(a, "Suite.Call"); err != nil {
		t.Fatalf("no rules, all may: %v", err)
	}
	f.SetRules(t,
		auth.Rule{Id: "a-may", Effect: "allow", Accounts: []string{"suite.a", f.Own}, Services: []string{Service}},
		auth.Rule{Id: "nobody-deletes", Effect: "deny", Methods: []string{"Suite.Delete"}, Priority: 1},
		auth.Rule{Id: "readers-read", Effect: "allow", Scopes: []string{"read"}, Methods: []string{"Suite.Read"}})
	f.eventually(t, "the last of the rules, which may come one by one", func() bool {
		_, err := f.authorize(reader, "Suite.Read")
		_, other := f.authorize(b, "Suite.Call")
		return err == nil && errors.Is(other, auth.ErrForbidden)
	})
	for _, c := range []struct {
		token, method, rule string
		ok                  bool
	}{
		{a, "Suite.Call", "", true}, {a, "Suite.Delete", "nobody-deletes", false}, {b, "Suite.Call", "no rule", false},
		{reader, "Suite.Read", "", true}, {b, "Suite.Read", "no rule", false},
	} {
		_, err := f.authorize(c.token, c.method)
		if (err == nil) != c.ok || !c.ok && (!errors.Is(err, auth.ErrForbidden) || !strings.Contains(err.Error(), c.rule)) {
			t.Errorf("%s: %v, want %q", c.method, err, c.rule)
		}
	}
	f.SetRules(t)
	f.eventually(t, "no rules again", func() bool { _, err := f.authorize(b, "Suite.Delete"); return err == nil })
}
