package oauth2

import (
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/internal/jwt"
	"github.com/micro/go-platform/auth/internal/policy"
)

// claims are what providers put into access tokens, by RFC 9068 or by habit.
type claims struct {
	jwt.Claims
	Session string `json:"sid"`
	Scope   words  `json:"scope"`
	Scp     words  `json:"scp"`
	Roles   words  `json:"roles"`
	Party   string `json:"azp"`
	Actor   actor  `json:"act"`
	// What tells id tokens and other kinds of one provider apart.
	Nonce  string `json:"nonce"`
	AtHash string `json:"at_hash"`
	CHash  string `json:"c_hash"`
	Kind   string `json:"typ"`
	Use    string `json:"token_use"`
}

// actor is the party that acts for the subject (RFC 8693, section 4.1).
type actor struct {
	Subject string `json:"sub"`
}

// words is a string of words or an array of strings; what is neither is none.
type words []string

// UnmarshalJSON reads either.
func (w *words) UnmarshalJSON(b []byte) error {
	var list []string
	if json.Unmarshal(b, &list) == nil {
		*w = list
		return nil
	}
	var one string
	if json.Unmarshal(b, &one) == nil {
		*w = strings.Fields(one)
	}
	return nil
}

// isAccess reports whether these can be claims of an access token. An id token
// need not have a nonce or at_hash. What it never has is a claim that an access
// token has: a scope, or the client_id of RFC 9068; Keycloak writes the kind.
func (c *claims) isAccess() bool {
	if c.Nonce != "" || c.AtHash != "" || c.CHash != "" || c.Use != "" && c.Use != "access" {
		return false
	}
	if c.Kind != "" {
		return strings.EqualFold(c.Kind, auth.Bearer)
	}
	return c.ClientID != "" || len(c.Scope)+len(c.Scp) > 0
}

// maxNames bounds the scopes and the roles of a token.
const maxNames = 64

// verified is a token that was good.
type verified struct {
	token  *auth.Token
	call   policy.Call
	key    *jwt.Key // nil: it is no JWT
	until  time.Time
	judged *provider
	asked  time.Time // when the provider was asked about it
	err    error     // what the provider said: it is not good
}

// accept makes what users see of good claims.
func (c *claims) accept(raw string) (*verified, bool) {
	scopes := slices.Concat(c.Scope, c.Scp)
	if len(scopes) > maxNames || len(c.Roles) > maxNames || c.Subject == "" {
		return nil, false
	}
	id := c.ClientID
	if id == "" {
		id = c.Party
	}
	md := map[string]string{"sub": c.Subject, "iss": c.Issuer, "type": "user"}
	if id == c.Subject {
		md["type"] = "service"
	}
	for k, v := range map[string]string{"client_id": id, "jti": c.ID, "sid": c.Session, "roles": strings.Join(c.Roles, " "), "act": c.Actor.Subject} {
		if v != "" {
			md[k] = v
		}
	}
	end := time.Unix(c.Expires, 0)
	return &verified{
		token: &auth.Token{AccessToken: raw, TokenType: auth.Bearer, ExpiresAt: end, Scopes: scopes, Audience: c.Audience, Metadata: md},
		call:  policy.Call{Account: c.Subject, Roles: c.Roles, Scopes: scopes},
		until: time.Now().Add(time.Until(end) + jwt.Leeway),
	}, true
}
