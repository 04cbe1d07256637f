package auth

import (
	"fmt"
	"strings"
	"time"

	"github.com/micro/go-platform/auth/internal/jwt"
)

// claims are the access tokens of go.micro.srv.auth: RFC 9068 and our own.
type claims struct {
	jwt.Claims
	Session string            `json:"sid"` // the family that a grant began
	Scope   string            `json:"scope"`
	Roles   []string          `json:"roles"`
	Type    string            `json:"type"`
	Meta    map[string]string `json:"meta"`
	Request map[string]string `json:"request"`
	Actor   *actor            `json:"act"`
}

// actor is who acts for the subject (RFC 8693, section 4.1), since a second by its
// own account, and who passed the token on to it.
type actor struct {
	Subject string `json:"sub"`
	Since   int64  `json:"since"`
	Actor   *actor `json:"act"`
}

// name is who acts now.
func (a *actor) name() string {
	if a == nil {
		return ""
	}
	return a.Subject
}

// marks includes the accounts that passed the token on: it ends with each of
// them.
func (c *claims) marks() marks {
	m := marks{account: c.Subject, id: c.ID, session: c.Session, issued: c.IssuedAt}
	for a := c.Actor; a != nil; a = a.Actor {
		m.actors = append(m.actors, actor{Subject: a.Subject, Since: a.Since})
	}
	return m
}

// maxNames bounds the scopes and the roles of a token.
const maxNames = 64

func (c *claims) check(scopes []string) error {
	switch {
	case c.Type != "service" && c.Type != "user":
		return fmt.Errorf("%w: of no known type", ErrInvalidToken)
	case len(scopes) > maxNames || len(c.Roles) > maxNames:
		return fmt.Errorf("%w: more than %d scopes or roles", ErrInvalidToken, maxNames)
	}
	return nil
}

// token makes what users see of it. Names of ours come last: nothing that an
// account or a requester wrote can pass for them.
func (c *claims) token(raw string, scopes []string) *Token {
	md := make(map[string]string, len(c.Meta)+len(c.Request)+8)
	for k, v := range c.Meta {
		if !strings.HasPrefix(k, "request.") {
			md[k] = v
		}
	}
	for k, v := range c.Request {
		md["request."+k] = v
	}
	for _, own := range [...]struct{ name, value string }{
		{"sub", c.Subject}, {"client_id", c.ClientID}, {"type", c.Type}, {"jti", c.ID}, {"sid", c.Session},
		{"roles", strings.Join(c.Roles, " ")}, {"iss", c.Issuer}, {"act", c.Actor.name()},
	} {
		if own.value != "" {
			md[own.name] = own.value
		} else {
			delete(md, own.name)
		}
	}
	return &Token{AccessToken: raw, TokenType: Bearer, ExpiresAt: time.Unix(c.Expires, 0), Scopes: scopes, Audience: c.Audience, Metadata: md}
}
