// This file holds what plugins are made of. Those who use one need none of it.

package auth

import (
	"context"
	"maps"
	"strings"

	"go-micro.dev/v6/metadata"

	"github.com/micro/go-platform/internal/header"
)

// Verifier is an Auth that can judge a token that is not in a context. The
// wrappers prefer it: it saves a context for each call.
type Verifier interface {
	// Verify is Authorized for what was sent as an access token: anything.
	Verify(accessToken string, req Request) (*Token, error)
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
	made := make(map[string]string, len(md)+1)
	maps.Copy(made, md)
	header.Delete(made, Header)
	if value, ok := format(t); ok {
		made[Header] = value
	}
	return made
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
