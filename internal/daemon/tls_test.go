package daemon_test

import (
	"context"
	"crypto/tls"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
)

func TestMutualTLS(t *testing.T) {
	ours, theirs := rpctest.NewAuthority(t), rpctest.NewAuthority(t)
	soon := time.Now().Add(time.Hour)
	good := ours.Pair("127.0.0.1", soon)
	for _, c := range []struct {
		name   string
		server tls.Certificate
		client *tls.Config
		ok     bool
	}{
		{"both right", good, &tls.Config{Certificates: []tls.Certificate{good}, RootCAs: ours.Pool()}, true},
		{"client without certificate", good, &tls.Config{RootCAs: ours.Pool()}, false},
		{"client of another authority", good, &tls.Config{Certificates: []tls.Certificate{theirs.Pair("127.0.0.1", soon)}, RootCAs: ours.Pool()}, false},
		{"client certificate expired", good, &tls.Config{Certificates: []tls.Certificate{ours.Pair("127.0.0.1", time.Now().Add(-time.Hour))}, RootCAs: ours.Pool()}, false},
		{"server certificate for another address", ours.Pair("127.0.0.2", soon), &tls.Config{Certificates: []tls.Certificate{good}, RootCAs: ours.Pool()}, false},
		{"plain text client", good, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			net := rpctest.New(t)
			net.Boot(service(nil), func(conf *daemon.Config) {
				conf.TLS = &tls.Config{
					Certificates: []tls.Certificate{c.server},
					ClientCAs:    ours.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
				}
			})
			client, release := rpc.Acquire(net.Client(rpctest.RPC), c.client)
			defer release()
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			defer cancel()
			_, err := echo.NewEchoService("go.micro.srv.test", client).Call(ctx, &echo.Request{}, rpc.Options(2*time.Second)...)
			if (err == nil) != c.ok {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestTLSFiles(t *testing.T) {
	ca := rpctest.NewAuthority(t)
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, key := ca.Sign("127.0.0.1", time.Now().Add(time.Hour))
	args := []string{"test-srv", "--registry", "memory", "--broker", "memory", "--insecure",
		"--tls_cert", write("cert.pem", cert), "--tls_key", write("key.pem", key), "--tls_ca", write("ca.pem", ca.PEM())}
	ctx, cancel := context.WithCancel(context.Background())
	var errs rpctest.Buffer
	done := make(chan int, 1)
	go func() { done <- daemon.Run(ctx, service(nil), args, io.Discard, &errs) }()
	rpctest.Eventually(t, "it serves", func() bool { return strings.Contains(errs.String(), "msg=serving") })
	cancel()
	if code := <-done; code != 0 {
		t.Fatalf("exit code %d:\n%s", code, errs.String())
	}
}
