package srv_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/metadata"

	merrors "go-micro.dev/v6/errors"

	"github.com/micro/go-platform/auth"
	authsrv "github.com/micro/go-platform/auth/internal/srv"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
)

const (
	adminSecret = "the admin's secret, known to tests"
	bootstrap   = "what services enrol with"
	callback    = "https://app.example/callback"
)

// env is a running auth-srv and what a test needs to use it.
type env struct {
	testing.TB
	net     *rpctest.Net
	url     string // of the HTTP face
	service daemon.Service
	running *daemon.Running
	account pb.AccountService
	oauth   pb.Oauth2Service
	policy  pb.PolicyService
	http    *http.Client
}

// start boots auth-srv alone.
func start(t testing.TB, change ...func(*authsrv.Config, *daemon.Config)) *env {
	t.Helper()
	return startOn(t, rpctest.New(t), change...)
}

// startOn boots an instance on a network.
func startOn(t testing.TB, n *rpctest.Net, change ...func(*authsrv.Config, *daemon.Config)) *env {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := authsrv.Config{HTTP: listener, AdminSecret: adminSecret, BootstrapSecret: bootstrap}
	d := daemon.Config{Registry: n.Registry, Broker: n.Broker, Logger: n.Logger}
	for _, f := range change {
		f(&c, &d)
	}
	e := &env{TB: t, net: n, url: "http://" + listener.Addr().String(), service: authsrv.New(c)}
	e.running = n.Boot(e.service, func(to *daemon.Config) { *to = d })
	tr := &http.Transport{MaxIdleConnsPerHost: 100}
	t.Cleanup(tr.CloseIdleConnections)
	e.http = &http.Client{Transport: tr, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	e.use(n.Client(rpctest.GRPC))
	return e
}

func (e *env) use(c client.Client) {
	e.account = pb.NewAccountService(auth.ServiceName, c)
	e.oauth = pb.NewOauth2Service(auth.ServiceName, c)
	e.policy = pb.NewPolicyService(auth.ServiceName, c)
}

// here makes calls go to this instance of several.
func (e *env) here() []client.CallOption {
	return append(rpc.Options(20*time.Second), client.WithAddress(e.running.Address()))
}

// as returns a context of a call with a token; none if it is empty.
func (e *env) as(token string) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	e.Cleanup(cancel)
	if token == "" {
		return ctx
	}
	return metadata.NewContext(ctx, metadata.Metadata{"authorization": "Bearer " + token})
}

// admin is as the admin.
func (e *env) admin() context.Context {
	e.Helper()
	return e.as(e.token(authsrv.AdminID, adminSecret))
}

// token gets a token for auth-srv by client_credentials over RPC.
func (e *env) token(id, secret string, scopes ...string) string {
	e.Helper()
	return e.tokenFor(id, secret, auth.ServiceName, scopes...)
}

// tokenFor gets one for another audience.
func (e *env) tokenFor(id, secret, audience string, scopes ...string) string {
	e.Helper()
	rsp, err := e.oauth.Token(e.as(""), &pb.TokenRequest{
		GrantType: "client_credentials", ClientId: id, ClientSecret: secret, Scopes: scopes, Audience: []string{audience},
	}, e.here()...)
	if err != nil {
		e.Fatal(err)
	}
	return rsp.Token.AccessToken
}

// create makes an account whose secret is "secret of ID".
func (e *env) create(r *pb.Record) *pb.Record {
	e.Helper()
	if r.ClientSecret == "" {
		r.ClientSecret = "secret of " + r.Id
	}
	rsp, err := e.account.Create(e.admin(), &pb.CreateRequest{Account: r}, e.here()...)
	if err != nil {
		e.Fatal(err)
	}
	return rsp.Account
}

// people makes the user ann, the client app and the service orders.
func (e *env) people() {
	e.Helper()
	e.create(&pb.Record{Id: "ann", Type: "user", Scopes: []string{"read", "write"}, Roles: []string{"buyer"}, Metadata: map[string]string{"team": "north"}})
	e.create(&pb.Record{Id: "app", Type: "service", Scopes: []string{"read", "write", "openid"}, RedirectUris: []string{callback, "http://127.0.0.1:9/back"}})
	e.create(&pb.Record{Id: "orders", Type: "service", Scopes: []string{"service"}})
}

func secretOf(id string) string { return "secret of " + id }

// exchange exchanges a token in the name of a client whose secret is "secret of ID".
func (e *env) exchange(by, token string, scopes []string, audience ...string) (*pb.TokenResponse, error) {
	return e.oauth.Token(e.as(""), &pb.TokenRequest{
		GrantType: "urn:ietf:params:oauth:grant-type:token-exchange", ClientId: by, ClientSecret: secretOf(by),
		SubjectToken: token, SubjectTokenType: "urn:ietf:params:oauth:token-type:access_token", Scopes: scopes, Audience: audience,
	})
}

// code returns the status of an RPC's error, 0 of none.
func code(err error) int32 {
	if err == nil {
		return 0
	}
	return merrors.FromError(err).Code
}

// answer is what the HTTP face said.
type answer struct {
	status int
	header http.Header
	body   string
	json   map[string]any
}

func (a *answer) text(key string) string { s, _ := a.json[key].(string); return s }

// post posts a form, with the client's id and secret as Basic if id is given.
func (e *env) post(path string, form url.Values, id, secret string) *answer {
	e.Helper()
	r, err := http.NewRequest(http.MethodPost, e.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		e.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if id != "" {
		r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	return e.do(r)
}

func (e *env) get(path string) *answer {
	e.Helper()
	r, err := http.NewRequest(http.MethodGet, e.url+path, nil)
	if err != nil {
		e.Fatal(err)
	}
	return e.do(r)
}

func (e *env) do(r *http.Request) *answer {
	e.Helper()
	rsp, err := e.http.Do(r)
	if err != nil {
		e.Fatal(err)
	}
	defer rsp.Body.Close()
	body, err := io.ReadAll(rsp.Body)
	if err != nil {
		e.Fatal(err)
	}
	a := &answer{status: rsp.StatusCode, header: rsp.Header, body: string(body), json: map[string]any{}}
	_ = json.Unmarshal(body, &a.json) // many answers are not JSON
	return a
}

// active asks whether a token is good.
func (e *env) active(token string) bool {
	e.Helper()
	rsp, err := e.oauth.Introspect(e.admin(), &pb.IntrospectRequest{AccessToken: token}, e.here()...)
	if err != nil {
		e.Fatal(err)
	}
	return rsp.Active
}
