package jwt

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
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
	if _, err := k.encoding.DecodeString(signature); err != nil { // go-jose takes bits that mean nothing
		return nil, errForm
	}
	signed, err := jose.ParseSignedCompact(token, key.algs)
	if err != nil {
		return nil, errForm
	}
	if _, err := signed.Verify(key.public); err != nil {
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
	if !whole(raw) {
		return errUTF8
	}
	return json.Unmarshal(raw, into)
}

var errUTF8 = errors.New("broken characters")

// whole reports whether there are no broken characters in JSON, which decoders
// replace: two names would be one.
func whole(raw []byte) bool {
	if !utf8.Valid(raw) {
		return false
	}
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 || len(raw) < i+2 {
			return true
		}
		raw = raw[i:]
		first := escaped(raw)
		switch {
		case !utf16.IsSurrogate(first):
			raw = raw[2:]
		case len(raw) < 12 || utf16.DecodeRune(first, escaped(raw[6:])) == utf8.RuneError:
			return false
		default:
			raw = raw[12:]
		}
	}
}

// escaped returns the character of a backslash, u and four digits, 0 for another.
func escaped(raw []byte) rune {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0
	}
	n, err := strconv.ParseUint(string(raw[2:6]), 16, 16)
	if err != nil {
		return 0
	}
	return rune(n)
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
