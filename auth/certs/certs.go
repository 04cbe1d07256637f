// Package certs loads renewed certificates from their files without a restart,
// for servers and clients.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
)

// Files names PEM files. Cert and Key are required.
type Files struct {
	Cert, Key string // shown to the other side
	CA        string // the authorities of servers; "": the system's
	ClientCA  string // the authorities of clients, which then must show a certificate
}

// FileError is an error of one of the Files.
type FileError struct {
	Field string // "Cert", "CA" or "ClientCA"
	Err   error
}

func (e *FileError) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *FileError) Unwrap() error { return e.Err }

// Certificates holds what the files contain. The files are checked for changes
// when a connection is made, at most once a second, by one connection: the
// others go on with what was read last. All methods are safe for concurrent
// use.
type Certificates struct {
	files   Files
	log     *slog.Logger
	current atomic.Pointer[tls.Config]

	mu     sync.Mutex // of whoever looks at the files
	looked time.Time
	state  string // of the files that were loaded last
	told   string // the error that the log has; "": none
}

// lookAgain bounds how often the files are looked at.
const lookAgain = time.Second

// Open reads the files. It returns a *FileError for a file that cannot be used.
// The logger, slog.Default() when nil, hears of renewals, and of renewed files
// that cannot be used: then the last good ones stay in use, because a renewal
// writes one file after the other.
func Open(f Files, log *slog.Logger) (*Certificates, error) {
	if log == nil {
		log = slog.Default()
	}
	c := &Certificates{files: f, log: log, looked: time.Now()}
	c.state = c.stat()
	made, err := c.load()
	if err != nil {
		return nil, err
	}
	c.current.Store(made)
	return c, nil
}

// Server returns a configuration whose handshakes use the newest files, for
// server/grpc's AuthTLS or an http.Server.
func (c *Certificates) Server() *tls.Config {
	made := c.Current().Clone()
	made.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.Current(), nil }
	return made
}

// Credentials returns the credentials of a grpc client, each of whose
// connections uses the newest files. The tls.Config of a client could not: its
// authorities are fixed.
func (c *Certificates) Credentials() credentials.TransportCredentials { return renewed{c} }

// Current returns the configuration of the newest files that can be used.
func (c *Certificates) Current() *tls.Config {
	if c.mu.TryLock() { // or another connection looks at the files, which may take long
		if time.Since(c.looked) >= lookAgain {
			c.look()
			c.looked = time.Now()
		}
		c.mu.Unlock()
	}
	return c.current.Load()
}

// look loads the files if they have changed. It logs what is new: a file that
// cannot be used is tried again every second, perhaps for days.
func (c *Certificates) look() {
	state := c.stat()
	if state == c.state {
		c.told = ""
		return
	}
	made, err := c.load()
	if err != nil {
		if text := err.Error(); text != c.told {
			c.told = text
			c.log.Warn("renewed certificates are not used, the last ones are", "error", err)
		}
		return
	}
	c.current.Store(made)
	c.state, c.told = state, ""
	c.log.Info("renewed certificates are used", "until", made.Certificates[0].Leaf.NotAfter)
}

// stat returns a text that changes when a file does.
func (c *Certificates) stat() string {
	var all strings.Builder
	for _, name := range []string{c.files.Cert, c.files.Key, c.files.CA, c.files.ClientCA} {
		if info, err := os.Stat(name); err == nil {
			fmt.Fprintln(&all, info.ModTime().UnixNano(), info.Size())
		} else {
			fmt.Fprintln(&all, "-")
		}
	}
	return all.String()
}

func (c *Certificates) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil {
		return nil, &FileError{"Cert", err}
	}
	made := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if made.RootCAs, err = authorities(c.files.CA); err != nil {
		return nil, &FileError{"CA", err}
	}
	if made.ClientCAs, err = authorities(c.files.ClientCA); err != nil {
		return nil, &FileError{"ClientCA", err}
	}
	if made.ClientCAs != nil {
		made.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return made, nil
}

// authorities returns nil when no file is named.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", file)
	}
	return pool, nil
}

type renewed struct{ of *Certificates }

func (r renewed) ClientHandshake(ctx context.Context, authority string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(r.of.Current()).ClientHandshake(ctx, authority, c)
}

func (r renewed) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these credentials are for clients")
}

func (r renewed) Info() credentials.ProtocolInfo { return credentials.NewTLS(&tls.Config{}).Info() }

func (r renewed) Clone() credentials.TransportCredentials { return r }

// OverrideServerName does nothing: grpc deprecated it, and passes the name.
func (r renewed) OverrideServerName(string) error { return nil }
