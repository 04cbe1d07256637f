// Package authtest checks that an Auth keeps the contract, and makes tokens,
// good and bad, for tests.
package authtest

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"sync"
	"testing"
	"time"
)

// IssuerName is the iss of an Issuer's tokens.
const IssuerName = "test-issuer"

// Issuer signs whatever it is told to, like an issuer of tokens and like those
// who would pass for one.
type Issuer struct {
	// Audience is the aud of tokens, Service unless another is set.
	Audience string

	tb testing.TB
	mu sync.Mutex
	// The keys: an Ed25519 one that signs, a P-256 one beside it.
	edKey  ed25519.PrivateKey
	ecKey  *ecdsa.PrivateKey
	serial int
	old    []map[string]any
}

// NewIssuer returns an Issuer with keys of its own.
func NewIssuer(tb testing.TB) *Issuer {
	tb.Helper()
	i := &Issuer{tb: tb, Audience: Service}
	i.Rotate(true)
	return i
}

// Rotate makes new keys. With keep the key set goes on to have the old ones.
func (i *Issuer) Rotate(keep bool) {
	i.tb.Helper()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		i.tb.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.tb.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case !keep:
		i.old = nil
	case i.serial > 0:
		i.old = append(i.old, i.public()...)
	}
	i.edKey, i.ecKey = ed, ec
	i.serial++
}

// KeyID returns the kid of the key that signs.
func (i *Issuer) KeyID() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.kid("ed")
}

func (i *Issuer) kid(kind string) string { return fmt.Sprintf("%s-%d", kind, i.serial) }

func (i *Issuer) public() []map[string]any {
	point, err := i.ecKey.PublicKey.Bytes() // 4, x, y
	if err != nil {
		i.tb.Fatal(err)
	}
	return []map[string]any{
		{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": i.kid("ed"), "x": encode(i.edKey.Public().(ed25519.PublicKey))},
		{"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": i.kid("ec"), "x": encode(point[1:33]), "y": encode(point[33:])},
	}
}

// Keys returns the JWK set.
func (i *Issuer) Keys() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.marshal(map[string]any{"keys": append(i.public(), i.old...)})
}

// Claims are those of a good access token for the account, changed by what is
// given: a nil value takes a claim out.
func (i *Issuer) Claims(account string, change map[string]any) map[string]any {
	now := time.Now().Unix()
	c := map[string]any{
		"iss": IssuerName, "sub": account, "client_id": account, "aud": i.Audience, "type": "service",
		"iat": now, "nbf": now, "exp": now + 900, "jti": rand.Text(), "sid": rand.Text(),
	}
	return merge(c, change)
}

// Token returns a good access token but for what the changes say.
func (i *Issuer) Token(account string, change map[string]any) string {
	return i.Sign(nil, i.Claims(account, change))
}

// Sign signs claims with the Ed25519 key under the usual header, changed by
// what is given.
func (i *Issuer) Sign(header, claims map[string]any) string {
	h := merge(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": i.KeyID()}, header)
	return i.SignRaw(i.marshal(h), i.marshal(claims))
}

// SignES256 signs with the P-256 key.
func (i *Issuer) SignES256(claims map[string]any) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	input := encode(i.marshal(map[string]any{"alg": "ES256", "typ": "at+jwt", "kid": i.kid("ec")})) + "." + encode(i.marshal(claims))
	hash := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, i.ecKey, hash[:])
	if err != nil {
		i.tb.Fatal(err)
	}
	return input + "." + encode(append(fill(r), fill(s)...))
}

func fill(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }

// SignRaw signs a header and a payload, whatever they are.
func (i *Issuer) SignRaw(header, payload []byte) string {
	input := encode(header) + "." + encode(payload)
	i.mu.Lock()
	defer i.mu.Unlock()
	return input + "." + encode(ed25519.Sign(i.edKey, []byte(input)))
}

func (i *Issuer) marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		i.tb.Fatal(err)
	}
	return b
}

func merge(into, change map[string]any) map[string]any {
	maps.Copy(into, change)
	maps.DeleteFunc(into, func(_ string, v any) bool { return v == nil })
	return into
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
