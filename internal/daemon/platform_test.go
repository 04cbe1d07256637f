package daemon_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authsrv "github.com/micro/go-platform/auth/srv"
	discoverysrv "github.com/micro/go-platform/discovery/srv"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
)

// A registry that asks for tokens, behind mutual TLS.
func TestAuthenticatedRegistryOverMutualTLS(t *testing.T) {
	ca, dir := rpctest.NewAuthority(t), t.TempDir()
	cert, key := ca.Sign("127.0.0.1", time.Now().Add(time.Hour))
	common := []string{"srv", "--broker", "memory", "--data_dir", dir}
	for name, pem := range map[string][]byte{"cert": cert, "key": key, "ca": ca.PEM()} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem, 0o600); err != nil {
			t.Fatal(err)
		}
		common = append(common, "--tls_"+name, path)
		if name == "ca" {
			common = append(common, "--tls_client_ca", path)
		}
	}
	registry, issuer := backend.Address(t), backend.Address(t)
	run := func(s daemon.Bootable, args ...string) *rpctest.Buffer {
		ctx, cancel := context.WithCancel(context.Background())
		errs, done := &rpctest.Buffer{}, make(chan int, 1)
		go func() {
			done <- daemon.Run(ctx, s, append(common[:len(common):len(common)], args...), io.Discard, errs)
		}()
		t.Cleanup(func() {
			cancel()
			if code := <-done; code != 0 || t.Failed() {
				t.Errorf("%T %s: exit code %d:\n%s", s, args, code, errs.String())
			}
		})
		// The flags of one at a time: parsing them writes to a variable of the library.
		rpctest.Eventually(t, "its flags are read", func() bool { return errs.String() != "" })
		return errs
	}
	known := service(nil)
	known.Name = "go.micro.srv.trace" // others do not enrol
	on := []string{"--registry", "platform", "--registry_address", registry}
	logs := []*rpctest.Buffer{
		run(discoverysrv.New(), "--server_address", registry, "--auth_address", issuer),
		run(authsrv.New(authsrv.Config{}), append(on, "--server_address", issuer, "--http_address", "")...),
		run(known, append(on, "--auth_address", issuer)...),
	}
	for _, log := range logs {
		rpctest.Eventually(t, "it serves", func() bool { return strings.Contains(log.String(), "msg=serving") })
	}
}

func TestFlagsOfARegistryThatAsksForTokens(t *testing.T) {
	for _, c := range []struct {
		name string
		srv  daemon.Bootable
		args []string
		want string
	}{
		{"discovery-srv without auth_address", discoverysrv.New(), nil, "--auth_address"},
		{"no port", service(nil), []string{"--auth_address", "host"}, "--auth_address"},
		{"no host", service(nil), []string{"--auth_address", "host:1,:2"}, "--auth_address"},
		{"platform without address", service(nil), []string{"--registry", "platform"}, "--registry_address"},
		{"platform with a bad address", service(nil), []string{"--registry", "platform", "--registry_address", "x"}, "--registry_address"},
		{"interval", service(nil), []string{"--register_interval", "1ms"}, "--register_interval"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var errs rpctest.Buffer
			code := daemon.Run(t.Context(), c.srv, append([]string{"srv", "--broker", "memory"}, c.args...), io.Discard, &errs)
			if code != 2 || !strings.Contains(errs.String(), c.want) {
				t.Fatalf("exit code %d: %s", code, errs.String())
			}
		})
	}
}
