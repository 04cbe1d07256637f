// This file holds what plugins are made of. Those who use one need none of it.

package auth

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go-micro.dev/v6/metadata"

	"github.com/micro/go-platform/auth/internal/jwt"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/header"
	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/internal/rpc"
)

// NewOptions returns the defaults with opts applied. It checks nothing: see
// Validate.
func NewOptions(opts ...Option) Options {
	o := Options{Context: context.Background(), now: time.Now}
	option.Apply(&o, opts)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Service == "" {
		o.Service = o.Id
	}
	return o
}

// maxOptionScopes bounds the scopes that an own token is asked to hold.
const maxOptionScopes = 64

// Validate returns an error that names every option with a bad value. It never
// shows the secret.
func (o Options) Validate() error {
	c := option.Of("auth")
	c.That(o.Id == "" || clean.Name(o.Id, 128), "Id", "%.140q is not at most 128 printable bytes", o.Id)
	c.That((o.Id == "") == (o.Secret == ""), "Secret", "Id and Secret go together")
	c.That(len(o.Secret) <= 1024, "Secret", "%d bytes are more than 1024", len(o.Secret))
	c.That(clean.Name(o.Service, 256), "Service", "%.140q is not 1 to 256 printable bytes, and there is no Id", o.Service)
	c.That(!IsTopicAudience(o.Service), "Service", "%.140q begins like the audience of a topic", o.Service)
	c.That(o.Audience == "" || clean.Name(o.Audience, 256), "Audience", "%.140q is not at most 256 printable bytes", o.Audience)
	c.That(len(o.Issuer) <= 256, "Issuer", "%d bytes are more than 256", len(o.Issuer))
	c.That(len(o.Scopes) <= maxOptionScopes, "Scopes", "%d are more than %d", len(o.Scopes), maxOptionScopes)
	for _, s := range o.Scopes {
		c.That(clean.Name(s, 128), "Scopes", "%.140q is not 1 to 128 printable bytes", s)
	}
	c.That(o.SnapshotFile == "" || filepath.IsAbs(o.SnapshotFile), "SnapshotFile", "%.140q is not an absolute path", o.SnapshotFile)
	c.That(o.Fingerprint == "" || rpc.IsFingerprint(o.Fingerprint), "Fingerprint", "%.80q is not sha256: and 43 characters", o.Fingerprint)
	for _, a := range o.Addresses {
		c.That(rpc.IsAddress(a), "Addresses", "%.128q is not host:port", a)
	}
	return c.Err()
}

// Verifier is an Auth that can judge a token that is not in a context. The
// wrappers prefer it: it saves a context for each call.
type Verifier interface {
	// Verify is Authorized for accessToken, which may hold any bytes. It waits
	// no longer than until ctx ends.
	Verify(ctx context.Context, accessToken string, req Request) (*Token, error)
}

// Names is an Auth that knows who may hold the name of a service.
type Names interface {
	// Holds returns nil if the account of the verified token t may hold the
	// name of a service: the name is the account's id or below it ("greeter",
	// "greeter.kv"), or a rule grants it. Otherwise it returns an ErrForbidden,
	// an ErrUnavailable while no rules are known, or an ErrInvalidToken for nil.
	Holds(t *Token, name string) error
}

// Carrier carries tokens in contexts and headers. Plugins embed it: the
// wrappers look for tokens where it puts them.
type Carrier struct{}

type carriedKey struct{}

// NewContext implements Auth.
func (Carrier) NewContext(ctx context.Context, t *Token) context.Context {
	return context.WithValue(ctx, carriedKey{}, t)
}

func carried(ctx context.Context) *Token {
	t, _ := ctx.Value(carriedKey{}).(*Token)
	return t
}

// FromContext implements Auth.
func (c Carrier) FromContext(ctx context.Context) (*Token, bool) {
	if t := carried(ctx); t != nil {
		return t, true
	}
	if t, ok := TokenFromContext(ctx); ok {
		return t, true
	}
	md, _ := metadata.FromContext(ctx)
	return c.FromHeader(md)
}

// FromHeader implements Auth.
func (Carrier) FromHeader(header map[string]string) (*Token, bool) {
	value, n := find(header)
	if n != 1 {
		return nil, false
	}
	kind, token, ok := parse(value)
	if !ok {
		return nil, false
	}
	return &Token{AccessToken: token, TokenType: kind}, true
}

// NewHeader implements Auth.
func (Carrier) NewHeader(md map[string]string, t *Token) map[string]string {
	if md == nil {
		md = map[string]string{}
	}
	header.Delete(md, Header)
	if value, ok := format(t); ok {
		md[Header] = value
	}
	return md
}

// IsFor reports whether t may be for the audience, without verifying t. It is
// true for a token that names no audience, such as one that is not a JWT, and
// false for nil.
func IsFor(t *Token, audience string) bool {
	if t == nil {
		return false
	}
	if len(t.Audience) > 0 {
		return slices.Contains(t.Audience, audience)
	}
	var c jwt.Claims
	return jwt.Peek(t.AccessToken, &c) != nil || len(c.Audience) == 0 || slices.Contains(c.Audience, audience)
}

// find returns an authorization and how many there are, in any letter case.
func find(md map[string]string) (value string, n int) {
	for k, v := range md {
		if len(k) == len(Header) && strings.EqualFold(k, Header) {
			value = v
			n++
		}
	}
	return value, n
}

// parse splits the value of an authorization header (RFC 9110, section 11.6.2).
func parse(value string) (kind, token string, ok bool) {
	if len(value) > MaxToken+64 {
		return "", "", false
	}
	kind, token, _ = strings.Cut(value, " ")
	if len(kind) > 32 || !isKind(kind) || !isToken(token) {
		return "", "", false
	}
	return kind, token, true
}

// format is the reverse of parse.
func format(t *Token) (string, bool) {
	if t == nil {
		return "", false
	}
	kind := t.TokenType
	if kind == "" {
		kind = Bearer
	}
	value := kind + " " + t.AccessToken
	_, _, ok := parse(value)
	return value, ok
}

func isKind(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; (c < 'a' || c > 'z') && s[i] != '-' {
			return false
		}
	}
	return s != ""
}

// isToken checks the characters of RFC 6750: there is no space, comma, quote or
// control character among them.
func isToken(s string) bool {
	// The ASCII characters, one bit each: "+-./0-9=" and "A-Z_a-z~".
	const low, high = uint64(0x23ffe80000000000), uint64(0x47fffffe87fffffe)
	if s == "" || len(s) > MaxToken {
		return false
	}
	for i := range len(s) {
		set, c := low, s[i]
		if c >= 64 {
			set = high
		}
		if c >= 128 || set>>(c&63)&1 == 0 {
			return false
		}
	}
	return true
}

// bearer returns the access token of t if it is of the type that can be
// verified.
func bearer(t *Token) (string, bool) {
	if t == nil || t.TokenType != "" && !strings.EqualFold(t.TokenType, Bearer) {
		return "", false
	}
	return t.AccessToken, t.AccessToken != ""
}
