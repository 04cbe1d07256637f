package bench

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"
	gojwt "github.com/golang-jwt/jwt/v5"
	"github.com/open-policy-agent/opa/v1/rego"
	"go-micro.dev/v6/client"
	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/authtest"
	"github.com/micro/go-platform/auth/memory"
	"github.com/micro/go-platform/auth/plugin"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
)

type authCall struct{ account, service, method string }

type authRequest struct{ service, method string }

func (r *authRequest) Service() string { return r.service }
func (r *authRequest) Method() string  { return r.method }

// thousand rules as a platform of 101 services might have, and the call that
// rule-998 allows.
func thousandRules() ([]auth.Rule, authCall) {
	rules := make([]auth.Rule, 1000)
	for i := range rules {
		rules[i] = auth.Rule{
			Id: fmt.Sprintf("rule-%03d", i), Effect: "allow",
			Accounts: []string{fmt.Sprintf("shop.caller-%d", i%250)}, Services: []string{fmt.Sprintf("shop.service-%d", i%101)}, Methods: []string{"Orders.*", "Echo.*"},
		}
	}
	return rules, authCall{account: "shop.caller-248", service: "shop.service-89", method: "Orders.Place"}
}

// tokens and watches are a go.micro.srv.auth that has rules and keys.
type tokens struct {
	pb.Oauth2Handler
	issuer *authtest.Issuer
}

type watches struct {
	pb.PolicyHandler
	issuer *authtest.Issuer
	rules  []*pb.Rule
	done   <-chan struct{}
}

func (a tokens) Token(_ context.Context, req *pb.TokenRequest, rsp *pb.TokenResponse) error {
	rsp.Token = &pb.Token{AccessToken: a.issuer.Token(req.ClientId, map[string]any{"aud": req.Audience}), TokenType: "Bearer", ExpiresAt: time.Now().Unix() + 900}
	return nil
}

func (watches) Report(context.Context, *pb.PolicyReportRequest, *pb.PolicyReportResponse) error {
	return nil
}

func (a watches) Watch(ctx context.Context, _ *pb.WatchRequest, stream pb.Policy_WatchStream) error {
	if err := stream.Send(&pb.WatchResponse{Reset_: true, Issuer: authtest.IssuerName, Jwks: a.issuer.Keys(), Rules: &pb.Rules{Rules: a.rules}}); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-a.done:
	}
	return nil
}

// startedAuth returns the default plugin of a caller that rules allow, and its
// issuer.
func startedAuth(b testing.TB) (auth.Auth, *authtest.Issuer, authCall) {
	b.Helper()
	rules, call := thousandRules()
	issuer := authtest.NewIssuer(b)
	issuer.Audience = call.service
	net := rpctest.New(b)
	net.Boot(daemon.Service{Name: auth.ServiceName, Start: func(_ context.Context, env *daemon.Env) error {
		return errors.Join(pb.RegisterOauth2Handler(env.Server, tokens{issuer: issuer}),
			pb.RegisterPolicyHandler(env.Server, watches{issuer: issuer, rules: plugin.Rules(rules...), done: env.Done}))
	}})
	a := auth.NewAuth(auth.Id(call.account), auth.Secret("s"), auth.Service(call.service), auth.Client(net.Client(rpctest.GRPC)), auth.Logger(slog.New(slog.DiscardHandler)))
	if err := a.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = a.Stop() })
	own := tokenFor(b, a, call.service)
	ctx := a.NewContext(context.Background(), own)
	rpctest.Eventually(b, "it verifies", func() bool { _, err := a.Authorized(ctx, &authRequest{call.service, call.method}); return err == nil })
	return a, issuer, call
}

func tokenFor(b testing.TB, a auth.Auth, service string) *auth.Token {
	b.Helper()
	own, err := a.(auth.Source).TokenFor(service)
	if err != nil {
		b.Fatal(err)
	}
	return own
}

// BenchmarkAuthorized is a check of a token seen before, with 1000 rules, one
// after the other and by all cores.
func BenchmarkAuthorized(b *testing.B) {
	a, _, call := startedAuth(b)
	own := tokenFor(b, a, call.service)
	ctx, req := a.NewContext(context.Background(), own), &authRequest{call.service, call.method}
	b.Run("warm", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := a.Authorized(ctx, req); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("warm/parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				if _, err := a.Authorized(ctx, req); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// BenchmarkVerify is the first check of a token: the bare signature, ours with
// all that is checked besides and the decision by 1000 rules, and golang-jwt
// with the checks it has.
func BenchmarkVerify(b *testing.B) {
	a, issuer, call := startedAuth(b)
	var set struct{ Keys []struct{ X string } }
	if err := json.Unmarshal(issuer.Keys(), &set); err != nil {
		b.Fatal(err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(set.Keys[0].X)
	if err != nil {
		b.Fatal(err)
	}
	key := ed25519.PublicKey(raw)
	one := issuer.Token(call.account, nil)
	b.Run("signature", func(b *testing.B) {
		last := strings.LastIndexByte(one, '.')
		sig, _ := base64.RawURLEncoding.DecodeString(one[last+1:])
		b.ReportAllocs()
		for b.Loop() {
			if !ed25519.Verify(key, []byte(one[:last]), sig) {
				b.Fatal("wrong")
			}
		}
	})
	b.Run("ours", func(b *testing.B) {
		fresh := make([]string, 20_000) // more than are remembered
		for i := range fresh {
			fresh[i] = issuer.Token(call.account, nil)
		}
		v, req, i := a.(auth.Verifier), &authRequest{call.service, call.method}, 0
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(b.Context(), fresh[i%len(fresh)], req); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
	b.Run("golang-jwt", func(b *testing.B) {
		p := gojwt.NewParser(gojwt.WithValidMethods([]string{"EdDSA"}), gojwt.WithAudience(call.service), gojwt.WithIssuer(authtest.IssuerName), gojwt.WithLeeway(time.Minute))
		b.ReportAllocs()
		for b.Loop() {
			var c gojwt.MapClaims
			if _, err := p.ParseWithClaims(one, &c, func(*gojwt.Token) (any, error) { return key, nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
}

const casbinModel = `
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act, eft
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = r.sub == p.sub && r.obj == p.obj && keyMatch(r.act, p.act)
`

const opaModule = `package shop
import rego.v1
default allow := false
allow if { some r in data.rules[input.service][input.account]; startswith(input.method, r) }
`

// BenchmarkPolicy decides the same call by the same 1000 rules; ours looks up the
// caller's token, too. OPA is given
// them indexed by service and account, as its documentation advises; it and
// casbin do not name the rule here.
func BenchmarkPolicy(b *testing.B) {
	rules, call := thousandRules()
	b.Run("ours", func(b *testing.B) {
		a := memory.NewAuth(auth.Service(call.service))
		if err := a.SetRules(rules...); err != nil {
			b.Fatal(err)
		}
		token, err := a.Issue(memory.Account{ID: call.account})
		if err != nil {
			b.Fatal(err)
		}
		ctx, req := a.NewContext(context.Background(), token), &authRequest{call.service, call.method}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := a.Authorized(ctx, req); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("casbin", func(b *testing.B) {
		m, err := model.NewModelFromString(casbinModel)
		if err != nil {
			b.Fatal(err)
		}
		e, err := casbin.NewEnforcer(m)
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range rules {
			if _, err := e.AddPolicy(r.Accounts[0], r.Services[0], r.Methods[0], "allow"); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportAllocs()
		for b.Loop() {
			if ok, err := e.Enforce(call.account, call.service, call.method); !ok || err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("opa", func(b *testing.B) {
		index := map[string]any{}
		for _, r := range rules {
			accounts, ok := index[r.Services[0]].(map[string]any)
			if !ok {
				accounts = map[string]any{}
				index[r.Services[0]] = accounts
			}
			accounts[r.Accounts[0]] = []any{strings.TrimSuffix(r.Methods[0], "*")}
		}
		ctx := context.Background()
		q, err := rego.New(rego.Query("data.shop.allow"), rego.Module("shop.rego", opaModule), rego.Data(map[string]any{"rules": index})).PrepareForEval(ctx)
		if err != nil {
			b.Fatal(err)
		}
		input := map[string]any{"account": call.account, "service": call.service, "method": call.method}
		b.ReportAllocs()
		for b.Loop() {
			if rs, err := q.Eval(ctx, rego.EvalInput(input)); err != nil || !rs.Allowed() {
				b.Fatal(rs, err)
			}
		}
	})
}

type authServerRequest struct {
	server.Request
	call authCall
}

func (r authServerRequest) Service() string         { return r.call.service }
func (r authServerRequest) Method() string          { return r.call.method }
func (r authServerRequest) Endpoint() string        { return r.call.method }
func (authServerRequest) Header() map[string]string { return nil }

type authClientRequest struct {
	client.Request
	call authCall
}

func (r authClientRequest) Service() string { return r.call.service }

// authWire hands a call's metadata over to the handler in a new context.
type authWire struct {
	client.Client
	handler server.HandlerFunc
	req     server.Request
}

func (w *authWire) Call(ctx context.Context, _ client.Request, rsp any, _ ...client.CallOption) error {
	md, _ := metadata.FromContext(ctx)
	return w.handler(metadata.NewContext(context.Background(), md), w.req, rsp)
}

// BenchmarkAuthWrappers is a call around nothing: the difference is what client
// and handler wrapper cost together, checked by 1000 rules.
func BenchmarkAuthWrappers(b *testing.B) {
	a, _, call := startedAuth(b)
	noop := func(context.Context, server.Request, any) error { return nil }
	req := authServerRequest{call: call}
	var out client.Request = authClientRequest{call: call}
	ctx := metadata.NewContext(context.Background(), metadata.Metadata{"x-request-id": "8d2c1f6e", "user-agent": "shop/1", "x-tenant": "acme"})
	for _, c := range []struct {
		name   string
		client client.Client
	}{
		{"none", &authWire{handler: noop, req: req}},
		{"client", auth.ClientWrapper(a)(&authWire{handler: noop, req: req})},
		{"both", auth.ClientWrapper(a)(&authWire{handler: auth.HandlerWrapper(a)(noop), req: req})},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.client.Call(ctx, out, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
