package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// certificates are the files of the TLS flags. They are looked at again when
// somebody connects, so that renewed ones are taken without a restart.
type certificates struct {
	cert, key, ca, clientCA string
	log                     *slog.Logger

	mu      sync.Mutex
	looked  time.Time
	state   string // of the files that were loaded last, or failed to
	current *tls.Config
}

// lookAgain bounds how often the files are looked at.
const lookAgain = time.Second

// config returns a configuration for both sides of connections. A server's
// handshakes ask it for the newest files, a client asks get.
func (c *certificates) config() (*tls.Config, error) {
	first, err := c.load()
	if err != nil {
		return nil, err
	}
	c.current, c.state, c.looked = first, c.stat(), time.Now()
	made := first.Clone()
	made.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.get(), nil }
	return made, nil
}

// get returns what the files say now, or said last when they make no sense: a
// renewal writes one after the other.
func (c *certificates) get() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < lookAgain {
		return c.current
	}
	c.looked = time.Now()
	state := c.stat()
	if state == c.state {
		return c.current
	}
	made, err := c.load()
	if err != nil {
		c.log.Warn("renewed certificates are not used, the last ones are", "error", err)
		return c.current
	}
	c.current, c.state = made, state
	c.log.Info("renewed certificates are used", "until", made.Certificates[0].Leaf.NotAfter)
	return made
}

// stat is another text when a file is another.
func (c *certificates) stat() string {
	var all strings.Builder
	for _, name := range []string{c.cert, c.key, c.ca, c.clientCA} {
		if info, err := os.Stat(name); err == nil {
			fmt.Fprintln(&all, info.ModTime().UnixNano(), info.Size())
		} else {
			fmt.Fprintln(&all, "-")
		}
	}
	return all.String()
}

func (c *certificates) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return nil, fmt.Errorf("--tls_cert: %w", err)
	}
	made := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if made.RootCAs, err = authorities("tls_ca", c.ca); err != nil {
		return nil, err
	}
	if made.ClientCAs, err = authorities("tls_client_ca", c.clientCA); err != nil {
		return nil, err
	}
	if made.ClientCAs != nil {
		made.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return made, nil
}

// authorities returns nil when no file is named.
func authorities(flag, file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--%s: no certificate in %s", flag, file)
	}
	return pool, nil
}

// tlsConfig returns what to serve with and what to call others with, nil when no
// certificate was given.
func (f *flags) tlsConfig(log *slog.Logger) (serve *tls.Config, dial func() *tls.Config, err error) {
	if f.tlsCert == "" && f.tlsKey == "" && f.tlsCA == "" && f.tlsClientCA == "" {
		return nil, nil, nil
	}
	if f.tlsCert == "" || f.tlsKey == "" {
		return nil, nil, usageError{errors.New("--tls_cert and --tls_key are needed together, and by --tls_ca and --tls_client_ca")}
	}
	files := &certificates{cert: f.tlsCert, key: f.tlsKey, ca: f.tlsCA, clientCA: f.tlsClientCA, log: log}
	if serve, err = files.config(); err != nil {
		return nil, nil, err
	}
	return serve, files.get, nil
}

// WebTLS is TLS for HTTP/1.1 servers whose clients show no certificate: nil where
// TLS is.
func (c *Config) WebTLS() *tls.Config {
	if c.TLS == nil {
		return nil
	}
	web := func(of *tls.Config) *tls.Config {
		made := of.Clone()
		made.ClientAuth, made.NextProtos = tls.NoClientCert, []string{"http/1.1"}
		return made
	}
	made := web(c.TLS)
	if renewed := c.TLS.GetConfigForClient; renewed != nil {
		made.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			now, err := renewed(hello)
			if err != nil || now == nil {
				return now, err
			}
			return web(now), nil
		}
	}
	return made
}
