package jwt

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
)

// MaxToken bounds a token, in bytes.
const MaxToken = 8 << 10

// Verify decodes a token into claims if it is good, and returns the key that
// signed it. On an error what is in claims means nothing. An error for which
// UnknownKey holds may go away when keys are read again.
func (k *Keys) Verify(token string, claims Registered) (*Key, error) {
	header, payload, signature, err := split(token)
	if err != nil {
		return nil, err
	}
	key, known := (*k.headers.Load())[header]
	if !known {
		if key, err = k.readHeader(header); err != nil {
			return nil, err
		}
	}
	sig, err := k.encoding.DecodeString(signature)
	if err != nil {
		return nil, errForm
	}
	if key.method.Verify(token[:len(header)+1+len(payload)], sig, key.public) != nil {
		return nil, errSignature
	}
	if !known {
		k.remember(header, key)
	}
	if err := decode(k.encoding, payload, claims); err != nil {
		return nil, errClaims
	}
	return key, k.expect.check(claims.registered())
}

// UnknownKey reports whether the token was refused because its key is not known.
func UnknownKey(err error) bool { return errors.Is(err, errKey) }

// Peek decodes the claims of a token without verifying anything: of one's own
// token, which comes from its issuer.
func Peek(token string, claims Registered) error {
	_, payload, _, err := split(token)
	if err != nil {
		return err
	}
	return decode(encoding(), payload, claims)
}

// split checks the form before anything is decoded: base64 decoders skip line
// breaks, and each dot more would cost something.
func split(token string) (header, payload, signature string, err error) {
	if len(token) > MaxToken {
		return "", "", "", errLong
	}
	var rest string
	header, rest, _ = strings.Cut(token, ".")
	payload, signature, _ = strings.Cut(rest, ".")
	if header == "" || payload == "" || signature == "" || strings.IndexByte(signature, '.') >= 0 ||
		strings.IndexByte(token, '\n') >= 0 || strings.IndexByte(token, '\r') >= 0 {
		return "", "", "", errForm
	}
	return header, payload, signature, nil
}

// encoding refuses what another encoding of the same bytes would be.
func encoding() *base64.Encoding { return base64.RawURLEncoding.Strict() }

func decode(e *base64.Encoding, segment string, into any) error {
	raw, err := e.DecodeString(segment)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// rawHeader is what a header may say. The fields that bring or name a key, or
// change how the token is read, are there to be refused.
type rawHeader struct {
	Alg  string `json:"alg"`
	Type string `json:"typ"`
	ID   string `json:"kid"`
	JWK  any    `json:"jwk"`
	JKU  any    `json:"jku"`
	X5U  any    `json:"x5u"`
	X5C  any    `json:"x5c"`
	Crit any    `json:"crit"`
	B64  any    `json:"b64"`
	Zip  any    `json:"zip"`
}

// readHeader returns the key that the header names.
func (k *Keys) readHeader(segment string) (*Key, error) {
	var h rawHeader
	if decode(k.encoding, segment, &h) != nil {
		return nil, errHeader
	}
	switch {
	case !slices.Contains(k.expect.Types, strings.ToLower(h.Type)):
		return nil, errType
	case h.JWK != nil, h.JKU != nil, h.X5U != nil, h.X5C != nil:
		return nil, errForeign
	case h.Crit != nil, h.B64 != nil, h.Zip != nil:
		return nil, errHeader
	case !slices.Contains([]string{EdDSA, ES256, RS256, PS256}, h.Alg):
		return nil, errAlg
	}
	key := k.byID[h.ID]
	if key == nil {
		return nil, errKey
	}
	if key.Alg != h.Alg {
		return nil, errAlg
	}
	return key, nil
}
