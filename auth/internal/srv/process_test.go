package srv_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v6/client"

	authsrv "github.com/micro/go-platform/auth/internal/srv"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
)

// asMain makes the test binary auth-srv.
const asMain = "AUTH_SRV_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		os.Exit(daemon.Main(authsrv.Service()))
	}
	rpctest.Main(backend.StopAfter(m))
}

func run(t *testing.T, args ...string) *rpctest.Process {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asMain+"=1")
	p := rpctest.StartProcess(t, cmd)
	t.Cleanup(p.Kill)
	return p
}

// serve runs the service on a data directory and returns its RPC address.
func serve(t *testing.T, dir string, args ...string) (*rpctest.Process, string) {
	t.Helper()
	p := run(t, append([]string{
		"--registry", "memory", "--broker", "http", "--broker_address", "127.0.0.1:0", "--http_address", "127.0.0.1:0",
		"--issuer", "https://auth.example", "--data_dir", dir,
	}, args...)...)
	address := regexp.MustCompile(`msg=serving .*address=([0-9.]+:[0-9]+) admin`)
	rpctest.Eventually(t, "it serves", func() bool { return address.MatchString(p.Output.String()) })
	return p, address.FindStringSubmatch(p.Output.String())[1]
}

// Fault: kill -9 at any moment. What was acknowledged is there afterwards.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	n := rpctest.New(t)
	e := &env{TB: t, net: n}
	var mu sync.Mutex
	var accounts, rules, revoked []string
	for round := range 4 {
		p, address := serve(t, dir)
		e.use(n.Client(rpctest.GRPC))
		at := append(rpc.Options(20*time.Second), client.WithAddress(address))
		secret, err := os.ReadFile(filepath.Join(dir, authsrv.AdminFile))
		if err != nil {
			t.Fatal(err)
		}
		admin := func() context.Context {
			rsp, err := e.oauth.Token(e.as(""), &pb.TokenRequest{
				GrantType: "client_credentials", ClientId: authsrv.AdminID, ClientSecret: strings.TrimSpace(string(secret)),
			}, at...)
			if err != nil {
				t.Fatal(err)
			}
			return e.as(rsp.Token.AccessToken)
		}()
		for _, id := range accounts {
			if _, err := e.account.Read(admin, &pb.ReadRequest{Id: id}, at...); err != nil {
				t.Errorf("round %d: account %s: %v", round, id, err)
			}
		}
		for _, id := range rules {
			if _, err := e.policy.Read(admin, &pb.PolicyReadRequest{Id: id}, at...); err != nil {
				t.Errorf("round %d: rule %s: %v", round, id, err)
			}
		}
		for _, token := range revoked {
			rsp, err := e.oauth.Introspect(admin, &pb.IntrospectRequest{AccessToken: token}, at...)
			if err != nil || rsp.Active {
				t.Errorf("round %d: a revoked token is good: %v", round, err)
			}
		}
		var wg sync.WaitGroup
		for worker := range 3 {
			wg.Go(func() {
				for i := 0; ; i++ {
					id := fmt.Sprintf("x%d-%d-%d", round, worker, i)
					made, err := e.account.Create(admin, &pb.CreateRequest{Account: &pb.Record{Id: id, Type: "service"}}, at...)
					if err != nil {
						return
					}
					_, rerr := e.policy.Create(admin, &pb.PolicyCreateRequest{Rule: &pb.Rule{Id: id, Effect: "allow"}}, at...)
					token, terr := e.oauth.Token(e.as(""), &pb.TokenRequest{GrantType: "client_credentials", ClientId: id, ClientSecret: made.Account.ClientSecret}, at...)
					if terr != nil { // then go-micro may still write to token
						token = &pb.TokenResponse{Token: &pb.Token{}}
					}
					_, verr := e.oauth.Revoke(admin, &pb.RevokeRequest{AccessToken: token.Token.AccessToken}, at...)
					mu.Lock()
					accounts = append(accounts, id)
					if rerr == nil {
						rules = append(rules, id)
					}
					if verr == nil && terr == nil {
						revoked = append(revoked, token.Token.AccessToken)
					}
					mu.Unlock()
				}
			})
		}
		mu.Lock()
		before := len(accounts)
		mu.Unlock()
		rpctest.Eventually(t, "some work was done", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(accounts) > before+5
		})
		p.Kill()
		wg.Wait()
	}
	t.Logf("%d accounts, %d rules, %d revocations", len(accounts), len(rules), len(revoked))
}

func TestBinary(t *testing.T) {
	dir := t.TempDir()
	p, _ := serve(t, dir)
	secret, err := os.ReadFile(filepath.Join(dir, authsrv.AdminFile))
	if err != nil {
		t.Fatal(err)
	}
	if out := p.Output.String(); strings.Contains(out, strings.TrimSpace(string(secret))) || !strings.Contains(out, filepath.Join(dir, authsrv.AdminFile)) {
		t.Errorf("a log has the admin's secret, or not where it is:\n%s", out)
	}
	if err := p.Terminate(); err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, p.Output.String())
	}
	p, _ = serve(t, dir)
	if strings.Contains(p.Output.String(), "First start") {
		t.Error("a second start is told as the first")
	}
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args []string
		ok   bool
		want string
	}{
		{[]string{"--help"}, true, "--http_address"},
		{[]string{"--token_lifetme", "1m"}, false, "did you mean --token_lifetime?"},
		{[]string{"--token_lifetime", "1s"}, false, "--token_lifetime 1s: want 10s to 24h"},
		{[]string{"--key_rotation", "never"}, false, "key_rotation"},
		{[]string{"--issuer", "ftp://x"}, false, "--issuer"},
		{[]string{"--http_address", "nowhere"}, false, "--http_address"},
	} {
		args := append([]string{"--registry", "memory", "--broker", "memory", "--data_dir", t.TempDir(), "--http_address", "127.0.0.1:0"}, c.args...)
		p := run(t, args...)
		err := p.Wait()
		if (err == nil) != c.ok || !strings.Contains(p.Output.String(), c.want) {
			t.Errorf("%v: %v\n%s", c.args, err, p.Output.String())
		}
	}
}
