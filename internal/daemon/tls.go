package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/micro/go-platform/auth/certs"
)

// certificates returns nil when no certificate was given.
func (f *flags) certificates(log *slog.Logger) (*certs.Certificates, error) {
	if f.tlsCert == "" && f.tlsKey == "" && f.tlsCA == "" && f.tlsClientCA == "" {
		return nil, nil
	}
	if f.tlsCert == "" || f.tlsKey == "" {
		return nil, usageError{errors.New("--tls_cert and --tls_key are needed together, and by --tls_ca and --tls_client_ca")}
	}
	c, err := certs.Open(certs.Files{Cert: f.tlsCert, Key: f.tlsKey, CA: f.tlsCA, ClientCA: f.tlsClientCA}, log)
	var file *certs.FileError
	if errors.As(err, &file) {
		flag := map[string]string{"Cert": "tls_cert", "CA": "tls_ca", "ClientCA": "tls_client_ca"}[file.Field]
		return nil, fmt.Errorf("--%s: %w", flag, file.Err)
	}
	return c, err
}

// brokerTLS returns the TLS settings of connections to a broker, with which the
// http broker listens too.
func (f *flags) brokerTLS(own *certs.Certificates) (*tls.Config, error) {
	switch {
	case f.broker == "memory":
		return nil, usageError{errors.New("--broker_ca: the memory broker has no connections")}
	case f.broker == "http" && own == nil:
		return nil, usageError{errors.New("--broker_ca: the http broker listens too, and needs --tls_cert and --tls_key")}
	}
	pem, err := os.ReadFile(f.brokerCA)
	if err != nil {
		return nil, fmt.Errorf("--broker_ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--broker_ca: no certificate in %s", f.brokerCA)
	}
	c := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if own != nil {
		c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &own.Current().Certificates[0], nil }
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &own.Current().Certificates[0], nil
		}
	}
	return c, nil
}

// WebTLS returns the settings of HTTP/1.1 servers, whose clients show no
// certificate. It is nil when TLS is.
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
