package srv_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/auth"
	authsrv "github.com/micro/go-platform/auth/srv"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

// secured returns a network with auth-srv on it and what services need to enrol.
func secured(t *testing.T) (*rpctest.Net, func(*daemon.Config)) {
	t.Helper()
	net, dir := rpctest.New(t), t.TempDir()
	secure := func(c *daemon.Config) { c.Insecure, c.DataDir = false, dir }
	net.Boot(authsrv.New(authsrv.Config{}), secure)
	return net, secure
}

// admin is a client of somebody who may do everything.
func admin(t *testing.T, net *rpctest.Net, secure func(*daemon.Config)) client.Client {
	t.Helper()
	return auth.ClientWrapper(adminAuth(t, net, secure))(net.Client(rpctest.GRPC))
}

func adminAuth(t *testing.T, net *rpctest.Net, secure func(*daemon.Config)) auth.Auth {
	t.Helper()
	var c daemon.Config
	secure(&c)
	secret, err := os.ReadFile(filepath.Join(c.DataDir, authsrv.AdminFile))
	if err != nil {
		t.Fatal(err)
	}
	a := auth.NewAuth(auth.Id(authsrv.AdminID), auth.Secret(strings.TrimSpace(string(secret))), auth.Client(net.Client(rpctest.GRPC)))
	t.Cleanup(func() {
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
	})
	return a
}
