package certs_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mgrpc "go-micro.dev/v6/server/grpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/micro/go-platform/auth/certs"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

// folder holds the files.
type folder struct {
	t   *testing.T
	dir string
}

func (f folder) path(name string) string { return filepath.Join(f.dir, name) }

func (f folder) write(name string, data ...[]byte) {
	f.t.Helper()
	if err := os.WriteFile(f.path(name), bytes.Join(data, nil), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f folder) sign(ca *rpctest.Authority) tls.Certificate {
	f.t.Helper()
	cert, key := ca.Sign("127.0.0.1", time.Now().Add(time.Hour))
	f.write("cert", cert) // one after the other, as certbot does
	f.write("key", key)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		f.t.Fatal(err)
	}
	return pair
}

func (f folder) files() certs.Files {
	return certs.Files{Cert: f.path("cert"), Key: f.path("key"), CA: f.path("ca"), ClientCA: f.path("ca")}
}

// reach calls over a connection of its own.
func reach(t *testing.T, address string, creds credentials.TransportCredentials) error {
	cc, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cc.Close() }() // the call is over
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return cc.Invoke(ctx, "/go.platform.test.Echo/Call", &echo.Request{}, &echo.Response{})
}

// Everything is renewed, on both sides, while calls go on.
func TestRenewed(t *testing.T) {
	older, newer := rpctest.NewAuthority(t), rpctest.NewAuthority(t)
	f := folder{t, t.TempDir()}
	was := f.sign(older)
	f.write("ca", older.PEM())
	n := rpctest.New(t)
	c, err := certs.Open(f.files(), n.Logger)
	if err != nil {
		t.Fatal(err)
	}
	s := n.Server(rpctest.GRPC, "shop", mgrpc.AuthTLS(c.Server()))
	if err := echo.RegisterEchoHandler(s, &rpctest.Echo{}); err != nil {
		t.Fatal(err)
	}
	n.Start(s)
	address := s.Options().Address

	stop := make(chan struct{})
	var calling sync.WaitGroup
	var calls atomic.Int64
	for range 2 {
		calling.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := reach(t, address, c.Credentials()); err != nil {
					t.Errorf("after %d calls: %v", calls.Load(), err)
					return
				}
				calls.Add(1)
			}
		})
	}
	shown := func() []byte {
		conn, err := tls.Dial("tcp", address, &tls.Config{Certificates: c.Current().Certificates, InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }() // what it showed is all
		return conn.ConnectionState().PeerCertificates[0].Raw
	}
	f.write("ca", older.PEM(), newer.PEM())
	rpctest.Eventually(t, "both authorities are trusted", func() bool { return !c.Current().RootCAs.Equal(older.Pool()) })
	is := f.sign(newer)
	rpctest.Eventually(t, "the new certificate is shown", func() bool { return bytes.Equal(shown(), is.Certificate[0]) })
	f.write("ca", newer.PEM())
	rpctest.Eventually(t, "the older authority is trusted no longer", func() bool {
		return reach(t, address, credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{was}, RootCAs: newer.Pool()})) != nil
	})
	f.write("key", []byte("half a renewal"))
	before := calls.Load()
	rpctest.Eventually(t, "calls go on", func() bool { return calls.Load() > before+100 })
	close(stop)
	calling.Wait()
	t.Logf("%d calls over connections of their own", calls.Load())
}

func TestFilesThatMakeNoSense(t *testing.T) {
	ca := rpctest.NewAuthority(t)
	for field, spoil := range map[string]func(folder, *certs.Files){
		"Cert":     func(f folder, _ *certs.Files) { f.write("key", []byte("x")) },
		"CA":       func(_ folder, c *certs.Files) { c.CA = "/nowhere" },
		"ClientCA": func(f folder, c *certs.Files) { f.write("empty"); c.ClientCA = f.path("empty") },
	} {
		f := folder{t, t.TempDir()}
		f.sign(ca)
		f.write("ca", ca.PEM())
		files := f.files()
		spoil(f, &files)
		_, err := certs.Open(files, nil)
		var of *certs.FileError
		if !errors.As(err, &of) || of.Field != field {
			t.Errorf("%s: got %v", field, err)
		}
	}
}
