package daemon_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
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

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t, cert, key}
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// sign returns a certificate for an address, good until a time, as PEM.
func (a *authority) sign(ip string, until time.Time) (cert, key []byte) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.ParseIP(ip)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func (a *authority) pair(ip string, until time.Time) tls.Certificate {
	a.t.Helper()
	pair, err := tls.X509KeyPair(a.sign(ip, until))
	if err != nil {
		a.t.Fatal(err)
	}
	return pair
}

func TestMutualTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	soon := time.Now().Add(time.Hour)
	good := ours.pair("127.0.0.1", soon)
	for _, c := range []struct {
		name   string
		server tls.Certificate
		client *tls.Config
		ok     bool
	}{
		{"both right", good, &tls.Config{Certificates: []tls.Certificate{good}, RootCAs: ours.pool()}, true},
		{"client without certificate", good, &tls.Config{RootCAs: ours.pool()}, false},
		{"client of another authority", good, &tls.Config{Certificates: []tls.Certificate{theirs.pair("127.0.0.1", soon)}, RootCAs: ours.pool()}, false},
		{"client certificate expired", good, &tls.Config{Certificates: []tls.Certificate{ours.pair("127.0.0.1", time.Now().Add(-time.Hour))}, RootCAs: ours.pool()}, false},
		{"server certificate for another address", ours.pair("127.0.0.2", soon), &tls.Config{Certificates: []tls.Certificate{good}, RootCAs: ours.pool()}, false},
		{"plain text client", good, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			net := rpctest.New(t)
			net.Boot(service(nil), func(conf *daemon.Config) {
				conf.TLS = &tls.Config{
					Certificates: []tls.Certificate{c.server},
					ClientCAs:    ours.pool(), ClientAuth: tls.RequireAndVerifyClientCert,
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
	ca := newAuthority(t)
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, key := ca.sign("127.0.0.1", time.Now().Add(time.Hour))
	args := []string{"test-srv", "--registry", "memory", "--broker", "memory", "--insecure",
		"--tls_cert", write("cert.pem", cert), "--tls_key", write("key.pem", key), "--tls_ca", write("ca.pem", ca.pem())}
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
