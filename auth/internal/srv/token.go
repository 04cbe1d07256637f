package srv

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/internal/jwt"
	"github.com/micro/go-platform/internal/rpcerr"
)

// claims are those of RFC 9068 and, after sid, ours.
type claims struct {
	jwt.Claims
	Session string            `json:"sid,omitempty"`
	Scope   string            `json:"scope"`
	Roles   []string          `json:"roles,omitempty"`
	Type    string            `json:"type"`
	Meta    map[string]string `json:"meta,omitempty"`
	Request map[string]string `json:"request,omitempty"`
	Actor   *actor            `json:"act,omitempty"`
}

// actor is who acts for the subject (RFC 8693, section 4.1). The token ends if the
// actor's tokens of before Since, its second by the actor's own account, do.
type actor struct {
	Subject string `json:"sub"`
	Since   int64  `json:"since,omitempty"`
	Actor   *actor `json:"act,omitempty"`
}

// maxActors bounds a chain of token exchanges.
const maxActors = 8

// name is who acts now.
func (a *actor) name() string {
	if a == nil {
		return ""
	}
	return a.Subject
}

func (a *actor) length() int {
	n := 0
	for ; a != nil; a = a.Actor {
		n++
	}
	return n
}

func (c *claims) scopes() []string { return strings.Fields(c.Scope) }

func (c *claims) has(scope string) bool { return slices.Contains(c.scopes(), scope) }

// direct reports whether the token was made for its subject itself, not for a
// client or an actor that works for it.
func (c *claims) direct(a *account) bool { return c.Actor == nil && c.ClientID == a.clientID }

// requestPrefix keeps what a client said of itself apart from what the admin
// said of the account.
const requestPrefix = "request."

// metadata is what Token.metadata shows of the claims. Names of ours come last:
// nothing that an account or a client wrote can pass for them.
func (c *claims) metadata() map[string]string {
	m := make(map[string]string, len(c.Meta)+len(c.Request)+8)
	maps.Copy(m, c.Meta)
	for k, v := range c.Request {
		m[requestPrefix+k] = v
	}
	for k, v := range map[string]string{
		"sub": c.Subject, "client_id": c.ClientID, "type": c.Type, "jti": c.ID, "sid": c.Session,
		"roles": strings.Join(c.Roles, " "), "iss": c.Issuer, "act": c.Actor.name(),
	} {
		delete(m, k)
		if v != "" {
			m[k] = v
		}
	}
	return m
}

// issuing is what a token is made of.
type issuing struct {
	subject  *account
	client   string
	sid      string
	scopes   []string
	request  map[string]string
	audience string // empty: this service
	// For exchanged tokens.
	actor    *actor
	notAfter int64
}

// mint signs an access token.
func (f *feed) mint(i issuing) (string, *claims, error) {
	now := time.Now()
	if i.audience == "" {
		i.audience = auth.ServiceName
	}
	c := &claims{
		Claims: jwt.Claims{
			Issuer: f.issuer, Subject: i.subject.id, Audience: jwt.Strings{i.audience}, ClientID: i.client, ID: uuid.NewString(),
			Expires: now.Add(f.rotation.lifetime).Unix(), NotBefore: now.Unix(),
			// A token issued in the second in which older ones were revoked must
			// not look like one of these.
			IssuedAt: max(now.Unix(), i.subject.validFrom),
		},
		Session: i.sid, Scope: strings.Join(i.scopes, " "), Roles: i.subject.roles, Type: i.subject.kind,
		Meta: i.subject.metadata, Request: i.request, Actor: i.actor,
	}
	if i.notAfter > 0 {
		c.Expires = min(c.Expires, i.notAfter)
	}
	raw, err := f.now.Load().keys.sign(now, tokenType, c)
	if err == nil && len(raw) > jwt.MaxToken {
		return "", nil, fmt.Errorf("token: %w: %d bytes, more than %d", rpcerr.ErrInvalid, len(raw), jwt.MaxToken)
	}
	return raw, c, err
}

// verify returns the claims of an access token that is good now.
func (f *feed) verify(raw string) (*claims, error) {
	c := &claims{}
	if _, err := f.now.Load().keys.tokens.Verify(raw, c); err != nil || f.revoked.has(c) {
		return nil, errToken
	}
	return c, nil
}

// isFor reports whether the token is for one of these.
func (c *claims) isFor(names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(c.Audience, n) })
}

// forTopic reports whether the token is for messages.
func (c *claims) forTopic() bool {
	return slices.ContainsFunc(c.Audience, auth.IsTopicAudience)
}

// authenticate is verify for calls of this service.
func (f *feed) authenticate(_ context.Context, raw string) (*claims, error) {
	c, err := f.verify(raw)
	if err != nil || !c.isFor(auth.ServiceName) {
		return nil, errToken
	}
	return c, nil
}
