package rpctest

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Handshakes is the suite of a TLS option. In front of the server at an address
// that speaks plain text it puts one that demands a certificate of its client, and
// passes the rest through. Call makes a plugin with a configuration for the server
// at an address, and returns nil only if that answered.
func Handshakes(t *testing.T, server string, call func(t *testing.T, addr string, c *tls.Config) error) {
	t.Helper()
	ours, others, soon := NewAuthority(t), NewAuthority(t), time.Now().Add(time.Hour)
	for name, x := range map[string]struct {
		trusts *Authority
		ip     string
		shows  *Authority // nil for no certificate
		works  bool
	}{
		"right": {ours, "127.0.0.1", ours, true}, "wrong CA": {others, "127.0.0.1", ours, false}, "wrong name": {ours, "127.0.0.2", ours, false},
		"no client certificate": {ours, "127.0.0.1", nil, false}, "wrong client certificate": {ours, "127.0.0.1", others, false},
	} {
		t.Run(name, func(t *testing.T) {
			front := secure(t, server, &tls.Config{
				Certificates: []tls.Certificate{ours.Pair(x.ip, soon)}, ClientCAs: ours.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
				NextProtos: []string{"http/1.1", "h2"}, // in this order: h2 only for who speaks nothing else
			})
			c := &tls.Config{RootCAs: x.trusts.Pool()}
			if x.shows != nil {
				c.Certificates = []tls.Certificate{x.shows.Pair("127.0.0.1", soon)}
			}
			if err := call(t, front, c); (err == nil) != x.works {
				t.Errorf("call: %v", err)
			}
		})
	}
}

// secure returns the address of a server that passes what it decrypts to another.
func secure(tb testing.TB, server string, c *tls.Config) string {
	tb.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", c)
	if err != nil {
		tb.Fatal(err)
	}
	var links sync.WaitGroup
	links.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return // closed
			}
			links.Go(func() { pass(near, server) })
		}
	})
	tb.Cleanup(func() {
		_ = l.Close() // a second Close is at fault, and there is none
		links.Wait()
	})
	return l.Addr().String()
}

// pass ends with either side. What one of them makes of that is its own affair.
func pass(near net.Conn, server string) {
	defer func() { _ = near.Close() }()
	if near.(*tls.Conn).Handshake() != nil {
		return
	}
	far, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer func() { _ = far.Close() }()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(near, far)
		_ = near.Close()
	})
	_, _ = io.Copy(far, near)
	_ = far.Close()
	back.Wait()
}
