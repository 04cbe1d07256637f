package daemon_test

import (
	"context"
	"crypto/tls"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	"google.golang.org/grpc/credentials"

	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/memreg"
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

// files are those of the TLS flags.
type files struct {
	t   *testing.T
	dir string
}

func (f files) write(name string, data []byte) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), data, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f files) sign(ca *rpctest.Authority) {
	f.t.Helper()
	cert, key := ca.Sign("127.0.0.1", time.Now().Add(time.Hour))
	f.write("cert", cert)
	f.write("key", key)
}

// serve runs a service with the flags and returns what it found when it started.
func (f files) serve(flags ...string) *daemon.Env {
	f.t.Helper()
	args := []string{"test-srv", "--registry", "memory", "--insecure"}
	for _, name := range flags {
		args = append(args, "--tls_"+name, filepath.Join(f.dir, strings.TrimPrefix(name, "client_")))
	}
	ctx, cancel := context.WithCancel(context.Background())
	var errs rpctest.Buffer
	done, found := make(chan int, 1), make(chan *daemon.Env, 1)
	srv := service(func(e *daemon.Env) error { found <- e; return nil })
	go func() { done <- daemon.Run(ctx, srv, args, io.Discard, &errs) }()
	f.t.Cleanup(func() {
		cancel()
		if code := <-done; code != 0 || f.t.Failed() {
			f.t.Errorf("exit code %d:\n%s", code, errs.String())
		}
	})
	rpctest.Eventually(f.t, "it serves", func() bool { return strings.Contains(errs.String(), "msg=serving") })
	return <-found
}

// reach calls a service over a connection of its own.
func reach(t *testing.T, address string, creds credentials.TransportCredentials) error {
	c := rpc.NewClient(rpc.Config{Registry: memreg.New(), Creds: creds})
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	opts := append(rpc.Options(10*time.Second), client.WithAddress(address), client.WithRetries(0))
	_, err := echo.NewEchoService("go.micro.srv.test", c).Call(ctx, &echo.Request{}, opts...)
	return err
}

func TestOneWayTLS(t *testing.T) {
	ca := rpctest.NewAuthority(t)
	anonymous := credentials.NewTLS(&tls.Config{RootCAs: ca.Pool()})
	for _, c := range []struct {
		flags []string
		ok    bool
	}{
		{[]string{"cert", "key"}, true},
		{[]string{"cert", "key", "ca"}, true},
		{[]string{"cert", "key", "client_ca"}, false},
		{[]string{"cert", "key", "ca", "client_ca"}, false},
	} {
		t.Run(strings.Join(c.flags, " "), func(t *testing.T) {
			f := files{t, t.TempDir()}
			f.sign(ca)
			f.write("ca", ca.PEM())
			env := f.serve(c.flags...)
			address := env.Server.Options().Address
			if err := reach(t, address, anonymous); (err == nil) != c.ok {
				t.Errorf("a client without a certificate: %v", err)
			}
			if err := reach(t, address, env.DialTLS); (err == nil) != slices.Contains(c.flags, "ca") {
				t.Errorf("as the service calls others: %v", err)
			}
		})
	}
}
