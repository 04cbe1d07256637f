package daemon

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/internal/rpc"
)

// Certify returns a certificate for the key of go.micro.srv.auth, and the
// fingerprint of the key. Nobody looks at the dates of the certificate.
func Certify(key ed25519.PrivateKey) (tls.Certificate, string, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: auth.ServiceName}, DNSNames: []string{auth.ServiceName},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, "", fmt.Errorf("certificate of %s: %w", auth.ServiceName, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, "", fmt.Errorf("certificate of %s: %w", auth.ServiceName, err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: cert}, rpc.Fingerprint(cert), nil
}

// identified returns the TLS settings of a server that shows its identity to
// clients that ask for the name of go.micro.srv.auth, and to others the
// certificates of base, which may be nil.
func (e *Env) identified(base *tls.Config) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if base != nil {
		c = base.Clone()
	}
	c.NextProtos = []string{"h2"}
	newest := c.GetConfigForClient
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		var now *tls.Config // nil: as c says
		if newest != nil {
			var err error
			if now, err = newest(hello); err != nil {
				return nil, err
			}
		}
		if hello.ServerName != auth.ServiceName {
			return now, nil
		}
		own := c.Clone()
		if now != nil {
			own = now.Clone()
		}
		own.NextProtos, own.Certificates, own.GetConfigForClient = []string{"h2"}, nil, nil
		own.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if cert := e.identity.Load(); cert != nil {
				return cert, nil
			}
			return nil, fmt.Errorf("not started: %w", auth.ErrUnavailable)
		}
		return own, nil
	}
	return c
}

// bilingual is a listener whose connections may speak TLS or plain text.
type bilingual struct {
	net.Listener
	config *tls.Config
}

func (l *bilingual) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &eitherConn{Conn: c, config: l.config}, nil
}

// eitherConn chooses between TLS and plain text by the first byte that it
// reads, within the deadline that grpc sets.
type eitherConn struct {
	net.Conn
	config *tls.Config
	once   sync.Once
	spoken net.Conn
	err    error
}

// tlsHandshake is the first byte of a TLS connection (RFC 8446, section 5.1).
const tlsHandshake = 22

func (c *eitherConn) begin() (net.Conn, error) {
	c.once.Do(func() {
		var first [1]byte
		if _, c.err = io.ReadFull(c.Conn, first[:]); c.err != nil {
			return
		}
		c.spoken = &begunConn{c.Conn, io.MultiReader(bytes.NewReader(first[:]), c.Conn)}
		if first[0] == tlsHandshake {
			c.spoken = tls.Server(c.spoken, c.config)
		}
	})
	return c.spoken, c.err
}

// Read implements net.Conn.
func (c *eitherConn) Read(b []byte) (int, error) {
	spoken, err := c.begin()
	if err != nil {
		return 0, err
	}
	return spoken.Read(b)
}

// Write implements net.Conn. A client speaks first, also in plain HTTP/2.
func (c *eitherConn) Write(b []byte) (int, error) {
	spoken, err := c.begin()
	if err != nil {
		return 0, err
	}
	return spoken.Write(b)
}

// begunConn is a connection of which something was read already.
type begunConn struct {
	net.Conn
	reader io.Reader
}

func (c *begunConn) Read(b []byte) (int, error) { return c.reader.Read(b) }

// bootstrap is what auth-srv left in its data directory: the secret to enrol
// with and, in a second line, the fingerprint that auth-srv is known by.
type bootstrap struct{ secret, fingerprint string }

// Bootstrap returns the text of the file.
func Bootstrap(secret, fingerprint string) string {
	return secret + "\n" + auth.ServiceName + " " + fingerprint + "\n"
}

func readBootstrap(file string) (b bootstrap, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return b, err
	}
	secret, rest, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
	b.secret = strings.TrimSpace(secret)
	if rest = strings.TrimSpace(rest); rest == "" {
		return b, nil
	}
	fingerprint, ok := strings.CutPrefix(rest, auth.ServiceName+" ")
	if !ok || !rpc.IsFingerprint(fingerprint) {
		return b, fmt.Errorf("%s: the second line is not the fingerprint of %s", file, auth.ServiceName)
	}
	b.fingerprint = fingerprint
	return b, nil
}
