package srv_test

import (
	"net/url"
	"testing"

	"github.com/micro/go-platform/auth"
	authsrv "github.com/micro/go-platform/auth/internal/srv"
	pb "github.com/micro/go-platform/auth/proto"
)

// Attack: a token that was sent to a service, or published, shown to auth-srv.
func TestTokensForOthersAreRefused(t *testing.T) {
	e := start(t)
	e.people()
	for _, audience := range []string{"orders", "go-platform", auth.TopicAudience("audit"), "go.micro.srv.authx", auth.ServiceName + ".kv"} {
		raw := e.tokenFor(authsrv.AdminID, adminSecret, audience)
		if aud := payload(t, raw)["aud"].([]any); len(aud) != 1 || aud[0] != audience {
			t.Errorf("aud %v, want %s", aud, audience)
		}
		for _, m := range registered() {
			if m == "Oauth2.Introspect" || m == "Oauth2.Revoke" || m == "Oauth2.Token" || m == "Account.Enrol" {
				continue // see below, and credentials of their own
			}
			if passed, err := authsrv.Guard(e.as(raw), t, e.service, m); passed || code(err) != 401 {
				t.Errorf("%s for %s: %v", m, audience, err)
			}
		}
		other := e.token("ann", secretOf("ann"))
		if rsp, err := e.oauth.Introspect(e.as(raw), &pb.IntrospectRequest{AccessToken: other}); code(err) != 401 {
			t.Errorf("it asked about another's, for %s: %v, %v", audience, rsp, err)
		}
		if _, err := e.oauth.Revoke(e.as(raw), &pb.RevokeRequest{AccessToken: other}); code(err) != 401 || !e.active(other) {
			t.Errorf("it revoked another's, for %s: %v", audience, err)
		}
	}
}

// Whoever a token is for may ask about it and end it; the subscribers of a topic,
// who all have its publisher's, may not end it.
func TestTheServiceOfATokenMayAskAboutIt(t *testing.T) {
	e := start(t)
	e.people()
	raw := e.tokenFor("ann", secretOf("ann"), "orders")
	if rsp, err := e.oauth.Introspect(e.as(raw), &pb.IntrospectRequest{AccessToken: raw}); err != nil || !rsp.Active {
		t.Errorf("with the token itself: %v, %v", rsp, err)
	}
	for by, want := range map[string]bool{"orders": true, "app": false} {
		if a := e.post("/oauth2/introspect", url.Values{"token": {raw}}, by, secretOf(by)); a.json["active"] != want {
			t.Errorf("by %s: %s", by, a.body)
		}
	}
	published := e.tokenFor("ann", secretOf("ann"), auth.TopicAudience("news"))
	if _, err := e.oauth.Revoke(e.as(published), &pb.RevokeRequest{AccessToken: published}); code(err) != 401 || !e.active(published) {
		t.Errorf("a subscriber ended the publisher's token: %v", err)
	}
	if _, err := e.oauth.Revoke(e.as(raw), &pb.RevokeRequest{AccessToken: raw}); err != nil || e.active(raw) {
		t.Errorf("revoke: %v", err)
	}
}

// RFC 8707: by resource over HTTP, with every grant.
func TestResource(t *testing.T) {
	e := start(t)
	e.people()
	first := func(a *answer) any {
		t.Helper()
		if a.status != 200 {
			t.Fatal(a.body)
		}
		aud := payload(t, a.text("access_token"))["aud"].([]any)
		if len(aud) != 1 {
			t.Errorf("aud %v", aud)
		}
		return aud[0]
	}
	ask := func(form url.Values) *answer { return e.post("/oauth2/token", form, "app", secretOf("app")) }
	if got := first(ask(url.Values{"grant_type": {"client_credentials"}})); got != auth.ServiceName {
		t.Errorf("nobody is named: %v", got)
	}
	for _, by := range []string{"resource", "audience"} {
		if got := first(ask(url.Values{"grant_type": {"client_credentials"}, by: {"shop.orders"}})); got != "shop.orders" {
			t.Errorf("%s: %v", by, got)
		}
	}
	token, _, _ := e.authorized()
	if got := payload(t, token.AccessToken)["aud"].([]any)[0]; got != auth.ServiceName {
		t.Errorf("by code: %v", got)
	}
	if got := first(ask(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.RefreshToken}, "resource": {"shop.orders"}})); got != "shop.orders" {
		t.Errorf("refreshed: %v", got)
	}
	for name, asked := range map[string][]string{"two": {"a", "b"}, "a pattern": {"*"}, "control characters": {"a\nb"}} {
		if a := ask(url.Values{"grant_type": {"client_credentials"}, "resource": asked}); a.status != 400 || a.text("error") != "invalid_target" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}
