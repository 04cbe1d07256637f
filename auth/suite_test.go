package auth_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"go-micro.dev/v6/metadata"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/authtest"
	authsrv "github.com/micro/go-platform/auth/internal/srv"
	"github.com/micro/go-platform/auth/plugin"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
)

// real is a network with a real auth-srv and somebody who administers it.
type real struct {
	*rpctest.Net
	t        testing.TB
	accounts pb.AccountService
	oauth    pb.Oauth2Service
	policies pb.PolicyService
	as       context.Context // the administrator
}

const adminSecret = "the secret of the administrator"

func newReal(t testing.TB, change ...func(*daemon.Config)) *real {
	t.Helper()
	net := rpctest.New(t)
	net.Boot(authsrv.New(authsrv.Config{AdminSecret: adminSecret, Announce: io.Discard, Issuer: "http://auth.test"}), change...)
	c := net.Client(rpctest.GRPC)
	return &real{Net: net, t: t, accounts: pb.NewAccountService(auth.ServiceName, c), oauth: pb.NewOauth2Service(auth.ServiceName, c), policies: pb.NewPolicyService(auth.ServiceName, c)}
}

func (r *real) admin() context.Context {
	r.t.Helper()
	if r.as == nil {
		r.as = metadata.NewContext(context.Background(), metadata.Metadata{"authorization": "Bearer " + r.token("admin", adminSecret, auth.ServiceName)})
	}
	return r.as
}

func (r *real) token(id, secret, audience string, scopes ...string) string {
	r.t.Helper()
	rsp, err := r.oauth.Token(context.Background(), &pb.TokenRequest{GrantType: "client_credentials", ClientId: id, ClientSecret: secret, Scopes: scopes, Audience: []string{audience}})
	if err != nil {
		r.t.Fatal(err)
	}
	return rsp.Token.AccessToken
}

// account makes an account, if it is new, and returns a token of it for the
// suite's service.
func (r *real) account(id string, scopes ...string) string {
	r.t.Helper()
	return r.accountFor(id, authtest.Service, scopes...)
}

func (r *real) accountFor(id, audience string, scopes ...string) string {
	r.t.Helper()
	_, err := r.accounts.Create(r.admin(), &pb.CreateRequest{Account: &pb.Record{Id: id, Type: "service", ClientId: id, ClientSecret: id + " secret", Scopes: scopes}})
	if err != nil && call.Code(err) != 409 {
		r.t.Fatal(err)
	}
	return r.token(id, id+" secret", audience, scopes...)
}

func (r *real) setRules(rules ...*pb.Rule) {
	r.t.Helper()
	ctx := r.admin()
	old, err := r.policies.Search(ctx, &pb.PolicySearchRequest{})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, rule := range rules {
		if _, err := r.policies.Create(ctx, &pb.PolicyCreateRequest{Rule: rule, Force: true}); err != nil {
			r.t.Fatal(err)
		}
	}
	for _, rule := range old.Rules {
		if _, err := r.policies.Delete(ctx, &pb.PolicyDeleteRequest{Id: rule.Id, Force: true}); err != nil {
			r.t.Fatal(err)
		}
	}
}

func realFixture(t testing.TB, opts ...auth.Option) *authtest.Fixture {
	r := newReal(t)
	r.account(authtest.Service)
	a := auth.NewAuth(append([]auth.Option{
		auth.Id(authtest.Service), auth.Secret(authtest.Service + " secret"), auth.Client(r.Client(rpctest.GRPC)), auth.Logger(r.Logger),
	}, opts...)...)
	return &authtest.Fixture{
		Auth: a, Own: authtest.Service,
		Token:    func(_ testing.TB, account string, scopes ...string) string { return r.account(account, scopes...) },
		TokenFor: func(_ testing.TB, account, audience string) string { return r.accountFor(account, audience) },
		SetRules: func(_ testing.TB, rules ...auth.Rule) { r.setRules(plugin.Rules(rules...)...) },
	}
}

func TestPlatform(t *testing.T)         { authtest.Run(t, realFixture) }
func TestPlatformAudience(t *testing.T) { authtest.RunAudience(t, realFixture) }
func TestPlatformPolicy(t *testing.T)   { authtest.RunPolicy(t, realFixture) }

// An account that is deleted loses its tokens everywhere at once.
func TestDeletedAccount(t *testing.T) {
	r := newReal(t)
	r.account("shop.orders")
	a := auth.NewAuth(auth.Id("shop.orders"), auth.Secret("shop.orders secret"), auth.Client(r.Client(rpctest.GRPC)), auth.Logger(r.Logger))
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Stop() }() // the test is over
	token := r.accountFor("shop.gone", "shop.orders")
	rpctest.Eventually(t, "it is good", func() bool { _, err := authorize(a, token); return err == nil })
	if _, err := r.accounts.Delete(r.admin(), &pb.DeleteRequest{Id: "shop.gone"}); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	rpctest.Eventually(t, "it is refused", func() bool { _, err := authorize(a, token); return errors.Is(err, auth.ErrInvalidToken) })
	t.Logf("refused %v after the deletion", time.Since(begun))
}
