package jwt

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/micro/go-platform/internal/clean"
)

// Claims are what an access token of RFC 9068 must and may say. Embed it in
// what Verify decodes into.
type Claims struct {
	Issuer    string  `json:"iss"`
	Subject   string  `json:"sub"`
	Audience  Strings `json:"aud"`
	ClientID  string  `json:"client_id"`
	Expires   int64   `json:"exp"`
	IssuedAt  int64   `json:"iat"`
	NotBefore int64   `json:"nbf"`
	ID        string  `json:"jti"`
}

func (c *Claims) registered() *Claims { return c }

// Registered is a struct that embeds Claims.
type Registered interface{ registered() *Claims }

// Strings is a string or an array of strings.
type Strings []string

// UnmarshalJSON reads either.
func (s *Strings) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]string)(s))
	}
	var one string
	err := json.Unmarshal(b, &one)
	*s = Strings{one}
	return err
}

// Leeway is how far the clocks of issuer and verifier may differ.
const Leeway = 60 * time.Second

// Expect is what a token must say.
type Expect struct {
	Issuer   string // empty: any that has the keys
	Audience string
	Types    []string // of the header, lower case
	Algs     []string // of the keys
	// MaxLifetime bounds exp - iat: a token that never ends cannot be taken
	// back once a revocation is forgotten.
	MaxLifetime time.Duration
	Now         func() time.Time // default time.Now
	// Loose takes tokens without jti and client_id, as other issuers make.
	Loose bool
	// AnyAudience takes tokens for whomever, as their issuer must.
	AnyAudience bool
}

// The reasons why a token is refused. None holds anything of the token, so that
// they can be shown and logged.
var (
	errLong       = errors.New("longer than 8 KB")
	errForm       = errors.New("not a signed token of three parts")
	errHeader     = errors.New("malformed header")
	errType       = errors.New("not an access token")
	errAlg        = errors.New("algorithm not allowed")
	errForeign    = errors.New("the header brings or names a key of its own")
	errKey        = errors.New("signed with an unknown key")
	errSignature  = errors.New("wrong signature")
	errClaims     = errors.New("malformed claims")
	errMissing    = errors.New("a required claim is missing")
	errIssuer     = errors.New("of another issuer")
	errAudience   = errors.New("for another audience")
	errExpired    = errors.New("expired")
	errNotYet     = errors.New("not valid yet")
	errLifetime   = errors.New("valid for too long")
	errSubject    = errors.New("malformed subject")
	errUnreadable = errors.New("names with control characters")
)

func (e *Expect) check(c *Claims) error {
	now := time.Now
	if e.Now != nil {
		now = e.Now
	}
	seconds, leeway := now().Unix(), int64(Leeway/time.Second)
	switch {
	case c.Expires == 0, c.Subject == "", c.IssuedAt == 0 && !e.Loose, !e.Loose && (c.ID == "" || c.ClientID == ""):
		return errMissing
	case !clean.Name(c.Subject, 256):
		return errSubject
	case !printable(c.ID, c.ClientID, c.Issuer):
		return errUnreadable
	case e.Issuer != "" && c.Issuer != e.Issuer:
		return errIssuer
	case e.AnyAudience && len(c.Audience) == 0,
		!e.AnyAudience && (!slices.Contains(c.Audience, e.Audience) || e.Audience == ""):
		return errAudience
	case c.Expires <= seconds-leeway:
		return errExpired
	case c.NotBefore > seconds+leeway, c.IssuedAt > seconds+leeway:
		return errNotYet
	case e.MaxLifetime > 0 && tooLong(c, seconds, e.MaxLifetime):
		return errLifetime
	}
	return nil
}

func tooLong(c *Claims, now int64, limit time.Duration) bool {
	from := c.IssuedAt
	if from == 0 {
		from = now
	}
	return c.Expires > now+int64(limit/time.Second)+int64(Leeway/time.Second) || c.Expires-from > int64(limit/time.Second)
}

func printable(names ...string) bool {
	for _, n := range names {
		if n != "" && !clean.Name(n, 512) {
			return false
		}
	}
	return true
}

// Fields splits the scopes of a scope claim.
func Fields(scope string) []string {
	if scope == "" {
		return nil
	}
	return strings.Fields(scope)
}
