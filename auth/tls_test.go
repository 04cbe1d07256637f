package auth_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/certs"
	authsrv "github.com/micro/go-platform/auth/internal/srv"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
)

// The option TLS decides whom the secret is sent to, and shows the certificate.
func TestTLS(t *testing.T) {
	ours, theirs := rpctest.NewAuthority(t), rpctest.NewAuthority(t)
	soon := time.Now().Add(time.Hour)
	here, elsewhere := ours.Pair("127.0.0.1", soon), ours.Pair("127.0.0.2", soon)
	for name, c := range map[string]struct {
		server tls.Certificate
		asked  tls.ClientAuthType
		client *tls.Config
		ok     bool
	}{
		"the right CA":          {here, tls.NoClientCert, &tls.Config{RootCAs: ours.Pool()}, true},
		"another CA":            {here, tls.NoClientCert, &tls.Config{RootCAs: theirs.Pool()}, false},
		"another name":          {elsewhere, tls.NoClientCert, &tls.Config{RootCAs: ours.Pool()}, false},
		"a client certificate":  {here, tls.RequireAndVerifyClientCert, &tls.Config{RootCAs: ours.Pool(), Certificates: []tls.Certificate{here}}, true},
		"no client certificate": {here, tls.RequireAndVerifyClientCert, &tls.Config{RootCAs: ours.Pool()}, false},
		"plain text":            {here, tls.NoClientCert, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			net := rpctest.New(t)
			srv := net.Boot(authsrv.New(authsrv.Config{AdminSecret: adminSecret, Announce: io.Discard}), func(conf *daemon.Config) {
				conf.TLS = &tls.Config{Certificates: []tls.Certificate{c.server}, ClientAuth: c.asked, ClientCAs: ours.Pool()}
			})
			a := auth.NewAuth(auth.Id("admin"), auth.Secret(adminSecret), auth.Addresses(srv.Address()), auth.TLS(c.client), auth.Logger(net.Logger))
			t.Cleanup(func() { _ = a.Stop() }) // the test is over
			_, err := a.Token()
			if (err == nil) != c.ok || err != nil && !errors.Is(err, auth.ErrUnavailable) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// The option Fingerprint decides the same by the key alone, on the same port.
func TestFingerprint(t *testing.T) {
	ours := rpctest.NewAuthority(t)
	cert := ours.Pair("127.0.0.1", time.Now().Add(time.Hour))
	for name, c := range map[string]*tls.Config{
		"beside plain text": nil,
		"beside TLS":        {Certificates: []tls.Certificate{cert}},
		"beside mutual TLS": {Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ours.Pool()},
	} {
		t.Run(name, func(t *testing.T) {
			net, dir := rpctest.New(t), t.TempDir()
			srv := net.Boot(authsrv.New(authsrv.Config{AdminSecret: adminSecret, Announce: io.Discard}), func(conf *daemon.Config) {
				conf.TLS, conf.Insecure, conf.DataDir = c, false, dir
			})
			text, err := os.ReadFile(filepath.Join(dir, authsrv.BootstrapFile))
			if err != nil {
				t.Fatal(err)
			}
			right := text[bytes.LastIndex(text, []byte("sha256:")) : len(text)-1]
			wrong := "sha256:" + strings.Repeat("A", 43)
			for of, ok := range map[string]bool{string(right): true, wrong: false} {
				a := auth.NewAuth(auth.Id("admin"), auth.Secret(adminSecret), auth.Addresses(srv.Address()), auth.Fingerprint(of),
					auth.TLS(&tls.Config{Certificates: []tls.Certificate{cert}}), auth.Logger(net.Logger))
				_, err := a.Token()
				if (err == nil) != ok || err != nil && !errors.Is(err, auth.ErrUnavailable) {
					t.Errorf("%s: %v", of, err)
				}
				if err := a.Stop(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// auth-srv proves who it is beside certificates of its machine, which are renewed
// while it runs.
func TestAuthSrvTakesRenewedCertificates(t *testing.T) {
	ours, files := rpctest.NewAuthority(t), certs.Files{Cert: filepath.Join(t.TempDir(), "cert.pem"), Key: filepath.Join(t.TempDir(), "key.pem")}
	renew := func() {
		cert, key := ours.Sign("127.0.0.1", time.Now().Add(time.Hour))
		for name, data := range map[string][]byte{files.Cert: cert, files.Key: key} {
			if err := os.WriteFile(name, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	renew()
	net := rpctest.New(t)
	opened, err := certs.Open(files, net.Logger)
	if err != nil {
		t.Fatal(err)
	}
	srv := net.Boot(authsrv.New(authsrv.Config{AdminSecret: adminSecret, Announce: io.Discard}), func(conf *daemon.Config) {
		conf.TLS, conf.Insecure, conf.DataDir = opened.Server(), false, t.TempDir()
	})
	shown := func() string {
		c, err := tls.Dial("tcp", srv.Address(), &tls.Config{RootCAs: ours.Pool(), ServerName: "127.0.0.1", NextProtos: []string{"h2"}})
		if err != nil {
			return err.Error()
		}
		defer func() { _ = c.Close() }() // it was only looked at
		return rpc.Fingerprint(c.ConnectionState().PeerCertificates[0])
	}
	first := shown()
	renew()
	rpctest.Eventually(t, "the renewed certificate is shown", func() bool { return shown() != first })
	pinned, err := rpc.Pinned(opened.Server(), "peer", "sha256:"+strings.Repeat("A", 43))
	if err != nil {
		t.Fatal(err)
	}
	mine, err := pinned.GetClientCertificate(nil)
	if err != nil || rpc.Fingerprint(mine.Leaf) != shown() {
		t.Errorf("a pinned client shows %v, %v", mine, err)
	}
}
