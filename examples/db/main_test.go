package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authsrv "github.com/micro/go-platform/auth/srv"
	dbsrv "github.com/micro/go-platform/db/srv"
	"github.com/micro/go-platform/examples/internal/devauth"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

const want = "the clerks sold 10 of 10 apples\norder more: Pear, 3 left\norder more: Apple, 0 left\n"

func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out rpctest.Buffer
	if err := run(ctx, memreg.New(), "sqlite::memory:", &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// With a db-srv that wants tokens it is the developer's account that gets in.
func TestAuthenticated(t *testing.T) {
	net, dir := rpctest.New(t), t.TempDir()
	secure := func(c *daemon.Config) { c.Insecure, c.DataDir = false, dir }
	net.Boot(authsrv.New(authsrv.Config{}), secure)
	net.Boot(dbsrv.New(), secure)
	secret, err := os.ReadFile(filepath.Join(dir, authsrv.AdminFile))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out rpctest.Buffer
	t.Setenv(devauth.EnvID, authsrv.AdminID)
	t.Setenv(devauth.EnvSecret, "wrong")
	if err := run(ctx, net.Registry, "", &out); err == nil {
		t.Fatal("it gets in with a wrong secret")
	}
	t.Setenv(devauth.EnvSecret, strings.TrimSpace(string(secret)))
	if err := run(ctx, net.Registry, "", &out); err != nil || out.String() != want {
		t.Errorf("%v, got\n%swant\n%s", err, out.String(), want)
	}
}
