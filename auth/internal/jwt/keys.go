// Package jwt verifies signed JSON web tokens (RFC 7519, RFC 7515) more
// strictly than libraries do, and at little more than the price of the
// signature.
//
// Key sets are read and signatures checked by go-jose, whose decoder of JSON
// refuses duplicate names and names in another letter case. What it would take
// is refused here: base64 of other than the one form, broken UTF-8, and all but
// a few fields of a header. Nothing in a token ever names, brings or leads to a
// key but the kid of one that is trusted already.
package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	jose "github.com/go-jose/go-jose/v4"
)

// The algorithms that can be allowed. None of them is symmetric: a public key
// can never be taken for a secret.
const (
	EdDSA = "EdDSA"
	ES256 = "ES256"
	RS256 = "RS256"
	PS256 = "PS256"
)

// Bounds of a key set.
const (
	MaxKeys    = 64
	MaxSet     = 256 << 10 // bytes
	minRSABits = 2048
	maxRSABits = 8192 // verification costs the square of the size
)

// Key is a public key that is trusted.
type Key struct {
	ID     string
	Alg    string
	public crypto.PublicKey
	algs   []jose.SignatureAlgorithm // Alg
}

// Equal reports whether two keys verify the same signatures.
func (k *Key) Equal(other *Key) bool {
	if k == nil || other == nil || k.Alg != other.Alg {
		return false
	}
	e, ok := k.public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && e.Equal(other.public)
}

// Keys is a set of keys, immutable but for what it remembers of headers.
type Keys struct {
	byID     map[string]*Key
	expect   *Expect
	encoding *base64.Encoding
	// headers are encoded headers of tokens that were good, so that a header
	// is read once and not with every token of its key.
	headers atomic.Pointer[map[string]*Key]
}

// ParseKeys reads a JWK set (RFC 7517) whose tokens must say what is expected.
// Keys that are not for signatures, of other algorithms or without kid are left
// out; it fails on a set that is malformed, too large, gives a kid twice or
// holds a private key.
func ParseKeys(jwks []byte, expect *Expect) (*Keys, error) {
	if len(jwks) > MaxSet {
		return nil, fmt.Errorf("key set: more than %d bytes", MaxSet)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(jwks, &set); err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	if len(set.Keys) > MaxKeys {
		return nil, fmt.Errorf("key set: more than %d keys", MaxKeys)
	}
	k := &Keys{byID: make(map[string]*Key, len(set.Keys)), expect: expect, encoding: encoding()}
	for _, raw := range set.Keys {
		key, err := parseKey(raw, expect.Algs)
		if err != nil {
			return nil, err
		}
		if key == nil {
			continue
		}
		if k.byID[key.ID] != nil {
			return nil, fmt.Errorf("key set: %q is there twice", key.ID)
		}
		k.byID[key.ID] = key
	}
	k.headers.Store(&map[string]*Key{})
	return k, nil
}

func parseKey(raw []byte, algs []string) (*Key, error) {
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(raw); err != nil {
		if errors.Is(err, jose.ErrUnsupportedKeyType) {
			return nil, nil
		}
		return nil, fmt.Errorf("key set: %w", err)
	}
	if _, symmetric := jwk.Key.([]byte); !symmetric && !jwk.IsPublic() {
		return nil, fmt.Errorf("key set: %q is a private key", jwk.KeyID)
	}
	alg := algorithm(jwk.Key, jwk.Algorithm)
	if jwk.KeyID == "" || jwk.Use != "" && jwk.Use != "sig" || !slices.Contains(algs, alg) {
		return nil, nil
	}
	return &Key{ID: jwk.KeyID, Alg: alg, public: jwk.Key, algs: []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)}}, nil
}

// algorithm returns the one algorithm that a key may be used with, or "". A key
// that does not say has the usual one of its type.
func algorithm(public any, said string) string {
	is := func(algs ...string) string {
		if said == "" {
			return algs[0]
		}
		if slices.Contains(algs, said) {
			return said
		}
		return ""
	}
	switch k := public.(type) {
	case ed25519.PublicKey:
		return is(EdDSA)
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return is(ES256)
		}
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n >= minRSABits && n <= maxRSABits {
			return is(RS256, PS256)
		}
	}
	return ""
}

// Len returns the number of keys.
func (k *Keys) Len() int { return len(k.byID) }

// Get returns the key of an id, nil if there is none.
func (k *Keys) Get(id string) *Key {
	if k == nil {
		return nil
	}
	return k.byID[id]
}

// remember notes the header of a token that was good: a few for each key, as
// its issuer writes them all alike.
func (k *Keys) remember(header string, key *Key) {
	old := k.headers.Load()
	if len(*old) >= 4*len(k.byID) || (*old)[header] != nil {
		return
	}
	grown := maps.Clone(*old)
	grown[header] = key
	k.headers.CompareAndSwap(old, &grown)
}
