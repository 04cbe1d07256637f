package srv

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/internal/jwt"
	"github.com/micro/go-platform/internal/rpcerr"
)

// tokenType is the typ of access tokens (RFC 9068, section 2.1).
const tokenType = "at+jwt"

// keyset is an immutable set of signing keys.
type keyset struct {
	keys   []keyPair // by rising slot
	jwks   []byte
	tokens *jwt.Keys // what others know of it
}

type keyPair struct {
	signingKey
	pair ed25519.PrivateKey
}

// newPrivateKey makes an Ed25519 key.
func newPrivateKey() (string, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

func newSigningKey(slot int64, starts time.Time) (signingKey, error) {
	private, err := newPrivateKey()
	return signingKey{slot: slot, kid: uuid.NewString(), private: private, starts: starts}, err
}

func newKeyset(stored []signingKey, issuer string) (*keyset, error) {
	ks := &keyset{}
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range stored {
		private, err := parseKey(k.private)
		if err != nil {
			return nil, fmt.Errorf("signing key %s: %w", k.kid, err)
		}
		ks.keys = append(ks.keys, keyPair{k, private})
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: private.Public(), KeyID: k.kid, Algorithm: string(jose.EdDSA), Use: "sig"})
	}
	var err error
	if ks.jwks, err = json.Marshal(set); err != nil {
		return nil, err
	}
	ks.tokens, err = jwt.ParseKeys(ks.jwks, &jwt.Expect{
		Issuer: issuer, AnyAudience: true, Types: []string{tokenType}, Algs: []string{jwt.EdDSA},
	})
	return ks, err
}

func parseKey(text string) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("not PEM")
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	private, ok := k.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("not an Ed25519 key")
	}
	return private, nil
}

// current is the key to sign with.
func (ks *keyset) current(now time.Time) (keyPair, error) {
	for i := len(ks.keys); i > 0; i-- {
		if k := ks.keys[i-1]; !k.starts.After(now) {
			return k, nil
		}
	}
	if len(ks.keys) > 0 { // the clock went back
		return ks.keys[0], nil
	}
	return keyPair{}, errors.New("there is no signing key")
}

// sign returns claims as a JWT of the type.
func (ks *keyset) sign(now time.Time, typ string, claims any) (string, error) {
	k, err := ks.current(now)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: k.pair, KeyID: k.kid}},
		(&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		return "", err
	}
	return josejwt.Signed(signer).Claims(claims).Serialize()
}

// errToken is of a token that is not one of ours and good, whatever the reason.
var errToken = fmt.Errorf("%w: %w", rpcerr.ErrUnauthenticated, auth.ErrInvalidToken)

// open reads the claims of a JWT of the type that we signed for ourselves.
// Access tokens are for tokens to judge.
func (ks *keyset) open(raw, typ string, claims any) error {
	token, err := josejwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil || len(token.Headers) != 1 || token.Headers[0].ExtraHeaders[jose.HeaderType] != typ {
		return errToken
	}
	for _, k := range ks.keys {
		if k.kid == token.Headers[0].KeyID && token.Claims(k.pair.Public(), claims) == nil {
			return nil
		}
	}
	return errToken
}

// rotation says when keys come and go.
type rotation struct {
	interval time.Duration // how long a key signs
	lifetime time.Duration // of tokens
}

// lead is how long a key is published before it signs, for those who ask for
// keys now and then.
func (r rotation) lead() time.Duration { return min(r.interval/4, time.Hour) }

// next returns the key to add, if it is time for one.
func (r rotation) next(ks *keyset, now time.Time) (*signingKey, error) {
	if len(ks.keys) == 0 {
		k, err := newSigningKey(1, now)
		return &k, err
	}
	newest := ks.keys[len(ks.keys)-1]
	starts := newest.starts.Add(r.interval)
	if now.Before(starts.Add(-r.lead())) {
		return nil, nil
	}
	if early := now.Add(r.lead()); starts.Before(early) {
		starts = early
	}
	k, err := newSigningKey(newest.slot+1, starts)
	return &k, err
}

// stale returns the slot below which keys have no valid token any more.
func (r rotation) stale(ks *keyset, now time.Time) (below int64) {
	for i := 1; i < len(ks.keys); i++ {
		if now.After(ks.keys[i].starts.Add(r.lifetime + 2*jwt.Leeway)) {
			below = ks.keys[i].slot
		}
	}
	if len(ks.keys) > 0 && below <= ks.keys[0].slot {
		return 0
	}
	return below
}
