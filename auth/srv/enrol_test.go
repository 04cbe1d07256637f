package srv_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/server"
	mgrpc "go-micro.dev/v6/server/grpc"

	"github.com/micro/go-platform/auth"
	authpb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/trace"
	tracesrv "github.com/micro/go-platform/trace/srv"
)

// pretenderAccount and pretenderOauth2 are of somebody who registered as
// go.micro.srv.auth. They count what they are sent.
type pretenderAccount struct {
	authpb.AccountHandler
	called *atomic.Int32
}

func (p *pretenderAccount) Enrol(context.Context, *authpb.EnrolRequest, *authpb.EnrolResponse) error {
	p.called.Add(1)
	return nil
}

type pretenderOauth2 struct {
	authpb.Oauth2Handler
	called *atomic.Int32
}

func (p *pretenderOauth2) Token(context.Context, *authpb.TokenRequest, *authpb.TokenResponse) error {
	p.called.Add(1)
	return nil
}

// Attack: whoever can write to the registry registers as go.micro.srv.auth, in
// plain text or over TLS with a key of its own, to be sent the secret that services
// enrol with, and then those that they have.
func TestSecretsGoToAuthSrvAlone(t *testing.T) {
	forged := &tls.Config{Certificates: []tls.Certificate{rpctest.NewAuthority(t).Pair("127.0.0.1", time.Now().Add(time.Hour))}}
	for name, opts := range map[string][]server.Option{"plain": nil, "TLS": {mgrpc.AuthTLS(forged)}} {
		t.Run(name, func(t *testing.T) {
			net, secure := secured(t)
			called := new(atomic.Int32)
			for range 2 {
				s := net.Server(rpctest.GRPC, auth.ServiceName, opts...)
				if err := errors.Join(authpb.RegisterAccountHandler(s, &pretenderAccount{called: called}), authpb.RegisterOauth2Handler(s, &pretenderOauth2{called: called})); err != nil {
					t.Fatal(err)
				}
				net.Start(s)
			}
			for range 3 { // the first call goes to any of them
				running := net.Boot(tracesrv.New(), secure)
				if err := running.Stop(); err != nil {
					t.Fatal(err)
				}
			}
			if n := called.Load(); n != 0 {
				t.Errorf("secrets were sent to somebody else %d times", n)
			}
		})
	}
}

// An account that is gone, or has another secret, is noticed by the service that
// runs with it and by one that starts, which say what to do.
func TestAServiceNoticesThatItsAccountIsGone(t *testing.T) {
	net, secure := secured(t)
	dir := t.TempDir()
	var issuer daemon.Config
	secure(&issuer)
	boot := func() *daemon.Running {
		t.Helper()
		return net.Boot(tracesrv.New(), secure, func(c *daemon.Config) {
			c.AdminAddr, c.DataDir = "127.0.0.1:0", dir
			c.Credentials.Bootstrap = filepath.Join(issuer.DataDir, daemon.BootstrapFile)
		})
	}
	authed := admin(t, net, secure)
	accounts := authpb.NewAccountService(auth.ServiceName, authed)
	running := boot()
	rpctest.Eventually(t, "it is ready", func() bool { return readiness(t, running) == "ready" })
	if _, err := accounts.Update(context.Background(), &authpb.UpdateRequest{
		Account: &authpb.Record{Id: trace.ServiceName, ClientSecret: "another secret"}, Fields: []string{"client_secret"},
	}); err != nil {
		t.Fatal(err)
	}
	told := func(r *daemon.Running) func() bool {
		return func() bool {
			said := readiness(t, r)
			return strings.HasPrefix(said, "account: ") && strings.Contains(said, "remove trace.credentials")
		}
	}
	rpctest.Eventually(t, "its secret was changed", told(running))
	if _, err := accounts.Delete(context.Background(), &authpb.DeleteRequest{Id: trace.ServiceName}); err != nil {
		t.Fatal(err)
	}
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}
	running = boot()
	rpctest.Eventually(t, "its account was deleted", told(running))
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}
	// The way back.
	if err := os.Remove(filepath.Join(dir, "trace.credentials")); err != nil {
		t.Fatal(err)
	}
	running = boot()
	rpctest.Eventually(t, "it has enrolled again", func() bool { return readiness(t, running) == "ready" })
}

// readiness returns what /readyz says.
func readiness(t *testing.T, r *daemon.Running) string {
	t.Helper()
	rsp, err := http.Get("http://" + r.AdminAddress() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rsp.Body.Close() }() // it was read
	defer http.DefaultClient.CloseIdleConnections()
	text, err := io.ReadAll(rsp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// A further instance takes the file of the first; without it, it is told to.
func TestInstancesShareAnAccount(t *testing.T) {
	net, secure := secured(t)
	var issuer daemon.Config
	secure(&issuer)
	net.Boot(tracesrv.New(), secure)
	elsewhere := daemon.Config{
		Registry: net.Registry, Broker: net.Broker, Logger: net.Logger, DataDir: t.TempDir(),
		Credentials: daemon.Credentials{Bootstrap: filepath.Join(issuer.DataDir, daemon.BootstrapFile)},
	}
	_, err := daemon.Start(context.Background(), tracesrv.New(), elsewhere)
	if err == nil || !strings.Contains(err.Error(), "copy the file trace.credentials") || !strings.Contains(err.Error(), "delete the account") {
		t.Fatalf("a second instance: %v", err)
	}
	shared, err := os.ReadFile(filepath.Join(issuer.DataDir, "trace.credentials"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(elsewhere.DataDir, "trace.credentials"), shared, 0o600); err != nil {
		t.Fatal(err)
	}
	second, err := daemon.Start(context.Background(), tracesrv.New(), elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Stop(); err != nil {
		t.Error(err)
	}
}

// A service whose answer was lost, or whose disk was full, enrols again: its secret
// is in its file before auth-srv hears of it.
func TestEnrollingIsRepeatable(t *testing.T) {
	net, secure := secured(t)
	var issuer daemon.Config
	secure(&issuer)
	conf := daemon.Config{
		Registry: net.Registry, Broker: net.Broker, Logger: net.Logger, DataDir: t.TempDir(),
		Credentials: daemon.Credentials{Bootstrap: filepath.Join(issuer.DataDir, daemon.BootstrapFile)},
	}
	boot := func(dir string) error {
		c := conf
		c.DataDir = dir
		running, err := daemon.Start(context.Background(), tracesrv.New(), c)
		if err != nil {
			return err
		}
		return running.Stop()
	}
	file := filepath.Join(conf.DataDir, "a file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := boot(filepath.Join(file, "below")); err == nil {
		t.Fatal("it started without a place for its secret")
	}
	if err := boot(conf.DataDir); err != nil {
		t.Fatalf("after one that could not be written: %v", err)
	}
	path := filepath.Join(conf.DataDir, "trace.credentials")
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var c daemon.Credentials
	if err := json.Unmarshal(kept, &c); err != nil || c.Pending || c.Issuer == "" {
		t.Fatalf("kept %+v: %v", c, err)
	}
	c.Pending, c.Issuer = true, "" // as before the answer
	pending, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pending, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := boot(conf.DataDir); err != nil {
		t.Fatalf("after an answer that was lost: %v", err)
	}
	if again, err := os.ReadFile(path); err != nil || string(again) != string(kept) {
		t.Errorf("the file is another one: %v", err)
	}
}

// Attack: registering as go.micro.srv.auth where a service has an account and
// nothing to know auth-srv by.
func TestAnUnknownIssuerIsSentNothing(t *testing.T) {
	net, called := rpctest.New(t), new(atomic.Int32)
	s := net.Server(rpctest.GRPC, auth.ServiceName)
	if err := authpb.RegisterOauth2Handler(s, &pretenderOauth2{called: called}); err != nil {
		t.Fatal(err)
	}
	net.Start(s)
	c := daemon.Config{
		Registry: net.Registry, Broker: net.Broker, Logger: net.Logger, DataDir: t.TempDir(),
		Credentials: daemon.Credentials{ID: trace.ServiceName, Secret: "a secret of a test"},
	}
	if _, err := daemon.Start(context.Background(), tracesrv.New(), c); !errors.Is(err, daemon.ErrUnknownIssuer) || called.Load() != 0 {
		t.Errorf("%v, secrets were sent %d times", err, called.Load())
	}
	c.TrustRegistry = true
	running, err := daemon.Start(context.Background(), tracesrv.New(), c)
	if err != nil {
		t.Fatal(err)
	}
	rpctest.Eventually(t, "the registry is trusted", func() bool { return called.Load() > 0 })
	if err := running.Stop(); err != nil {
		t.Error(err)
	}
}

// brokenAccount is an auth-srv whose database comes back.
type brokenAccount struct {
	authpb.AccountHandler
	called atomic.Int32
}

func (b *brokenAccount) Enrol(_ context.Context, req *authpb.EnrolRequest, rsp *authpb.EnrolResponse) error {
	switch b.called.Add(1) {
	case 1:
		return merrors.InternalServerError(auth.ServiceName, "internal error")
	case 2:
		return merrors.Timeout(auth.ServiceName, "out of time")
	}
	rsp.Account = &authpb.Record{ClientId: req.Id, ClientSecret: req.ClientSecret}
	return nil
}

// A first start waits for what may pass: it does not exit because auth-srv has
// trouble.
func TestEnrollingWaits(t *testing.T) {
	net, broken := rpctest.New(t), &brokenAccount{}
	s := net.Server(rpctest.GRPC, auth.ServiceName)
	if err := errors.Join(authpb.RegisterAccountHandler(s, broken), authpb.RegisterOauth2Handler(s, &pretenderOauth2{called: new(atomic.Int32)})); err != nil {
		t.Fatal(err)
	}
	net.Start(s)
	file := filepath.Join(t.TempDir(), daemon.BootstrapFile)
	if err := os.WriteFile(file, []byte("a secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	running, err := daemon.Start(context.Background(), tracesrv.New(), daemon.Config{
		Registry: net.Registry, Broker: net.Broker, Logger: net.Logger, DataDir: t.TempDir(),
		AuthAddresses: []string{s.Options().Address}, Credentials: daemon.Credentials{Bootstrap: file},
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := broken.called.Load(); n != 3 {
		t.Errorf("enrolled after %d calls, want 3", n)
	}
	if err := running.Stop(); err != nil {
		t.Error(err)
	}
}
