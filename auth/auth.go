// Package auth lets services prove who they are and decide who may call them.
package auth

import (
	"context"
	"errors"
	"time"
)

// ErrInvalidToken is the error of a token that is missing, malformed, expired,
// revoked, or of somebody who is not trusted.
var ErrInvalidToken = errors.New("invalid token")

// Token is what an account may show to others.
type Token struct {
	AccessToken  string
	RefreshToken string
	TokenType    string // "Bearer"
	ExpiresAt    time.Time
	Scopes       []string
	Metadata     map[string]string
}

// Request is what somebody wants to call. Both of go-micro's requests are one.
type Request interface {
	Service() string
	Method() string
}

// Auth is implemented by the plugins.
type Auth interface {
	Authorized(ctx context.Context, req Request) (*Token, error)
	Token() (*Token, error)
	Introspect(ctx context.Context) (*Token, error)
	Revoke(t *Token) error
	FromContext(ctx context.Context) (*Token, bool)
	NewContext(ctx context.Context, t *Token) context.Context
	FromHeader(header map[string]string) (*Token, bool)
	NewHeader(header map[string]string, t *Token) map[string]string
	Start() error
	Stop() error
	String() string
}
