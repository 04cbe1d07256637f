package jwt_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/micro/go-platform/auth/internal/jwt"
	"github.com/micro/go-platform/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func all() *jwt.Expect {
	return &jwt.Expect{Algs: []string{jwt.EdDSA, jwt.ES256, jwt.RS256, jwt.PS256}, Types: []string{"at+jwt"}, Audience: "a"}
}

func set(t testing.TB, keys ...any) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseKeys(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader) // the reader of random bits does not fail
	big, _ := rsa.GenerateKey(rand.Reader, 2048)               // the reader of random bits does not fail
	good := jose.JSONWebKey{Key: public, KeyID: "k", Algorithm: "EdDSA", Use: "sig"}
	many := make([]any, jwt.MaxKeys+1)
	for i := range many {
		many[i] = jose.JSONWebKey{Key: public, KeyID: fmt.Sprint(i)}
	}
	for name, c := range map[string]struct {
		jwks []byte
		n    int // -1: refused
	}{
		"good":                         {set(t, good), 1},
		"none":                         {set(t), 0},
		"RSA without alg":              {set(t, jose.JSONWebKey{Key: &big.PublicKey, KeyID: "r"}), 1},
		"RSA for PS256":                {set(t, jose.JSONWebKey{Key: &big.PublicKey, KeyID: "r", Algorithm: "PS256"}), 1},
		"left out: for encryption":     {set(t, jose.JSONWebKey{Key: public, KeyID: "k", Use: "enc"}), 0},
		"left out: no kid":             {set(t, jose.JSONWebKey{Key: public}), 0},
		"left out: symmetric":          {set(t, good, map[string]any{"kty": "oct", "kid": "s", "k": "c2VjcmV0", "alg": "HS256"}), 1},
		"left out: unknown type":       {set(t, good, map[string]any{"kty": "AKP", "kid": "new", "alg": "ML-DSA-44", "pub": "AA"}), 1},
		"left out: alg of another key": {set(t, jose.JSONWebKey{Key: public, KeyID: "k", Algorithm: "RS256"}), 0},
		"left out: P-384":              {set(t, jose.JSONWebKey{Key: &p384.PublicKey, KeyID: "e"}), 0},
		"left out: RSA of 1024 bits":   {set(t, map[string]any{"kty": "RSA", "kid": "r", "e": "AQAB", "n": strings.Repeat("_", 171)}), 0},
		"private":                      {set(t, jose.JSONWebKey{Key: private, KeyID: "k"}), -1},
		"twice":                        {set(t, good, good), -1},
		"too many":                     {set(t, many...), -1},
		"too large":                    {append(set(t, good), make([]byte, jwt.MaxSet)...), -1},
		"no JSON":                      {[]byte("{"), -1},
		"malformed key":                {set(t, map[string]any{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "AA"}), -1},
	} {
		k, err := jwt.ParseKeys(c.jwks, all())
		if (err != nil) != (c.n < 0) || err == nil && k.Len() != c.n {
			t.Errorf("%s: %v %v", name, k, err)
		}
	}
}

func TestCacheIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	c := jwt.NewCache[int](10)
	c.Put("used", 1)
	for i := range 1000 {
		c.Put(fmt.Sprint(i), i)
		if _, ok := c.Get("used"); !ok {
			t.Fatalf("what is used was forgotten after %d", i)
		}
	}
	if n := c.Len(); n > 20 {
		t.Errorf("%d entries", n)
	}
	if _, ok := c.Get("5"); ok {
		t.Error("what is not used is still there")
	}
	c.Remove("used")
	if _, ok := c.Get("used"); ok {
		t.Error("removed")
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA"},{"kty":"EC","crv":"P-256"}]}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := jwt.ParseKeys(b, all())
		if err != nil {
			return
		}
		var c jwt.Claims
		if _, err := k.Verify("e30.e30.AA", &c); err == nil {
			t.Error("verified")
		}
	})
}
