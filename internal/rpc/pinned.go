package rpc

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/micro/go-platform/internal/rpcerr"
)

// fingerprintPrefix begins a fingerprint.
const fingerprintPrefix = "sha256:"

// Fingerprint returns the fingerprint of a peer's public key (RFC 7469, section
// 2.4).
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return fingerprintPrefix + base64.RawURLEncoding.EncodeToString(sum[:])
}

// IsFingerprint reports whether a text can be that of a key.
func IsFingerprint(s string) bool {
	encoded, ok := strings.CutPrefix(s, fingerprintPrefix)
	sum, err := base64.RawURLEncoding.DecodeString(encoded)
	return ok && err == nil && len(sum) == sha256.Size
}

// ErrNotThePeer is the cause of a connection that failed because the server
// does not have the expected key.
var ErrNotThePeer = errors.New("this is not who it pretends to be: its key is another one")

// Pinned returns TLS settings that connect only to a server that proves to have
// the key with the fingerprint, whoever signed its certificate. The client asks
// for the server by name. The certificates that it shows are those of base,
// which may be nil.
func Pinned(base *tls.Config, name, fingerprint string) (*tls.Config, error) {
	if !IsFingerprint(fingerprint) {
		return nil, fmt.Errorf("fingerprint %.80q: %w: want %s and 43 characters", fingerprint, rpcerr.ErrInvalid, fingerprintPrefix)
	}
	c := &tls.Config{
		ServerName: name, MinVersion: tls.VersionTLS13,
		InsecureSkipVerify: true, //nolint:gosec // the key is verified below
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || Fingerprint(s.PeerCertificates[0]) != fingerprint {
				return ErrNotThePeer
			}
			return nil
		},
	}
	if base != nil {
		c.Certificates, c.GetClientCertificate = base.Certificates, base.GetClientCertificate
	}
	if base != nil && base.GetClientCertificate == nil && base.GetConfigForClient != nil { // of a server whose files are renewed
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			now, err := base.GetConfigForClient(&tls.ClientHelloInfo{})
			if err != nil || now == nil || len(now.Certificates) == 0 {
				return &tls.Certificate{}, err
			}
			return &now.Certificates[0], nil
		}
	}
	return c, nil
}
