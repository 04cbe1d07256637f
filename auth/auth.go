// Package auth lets services prove who they are and decide who may call them.
package auth

import (
	"context"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/rpcerr"
)

// ServiceName is the service that the default plugin talks to.
const ServiceName = "go.micro.srv.auth"

// Header carries a token: "authorization: <token_type> <access_token>".
const Header = "authorization"

// Bearer is the type of all tokens that plugins here verify (RFC 6750).
const Bearer = "Bearer"

// MaxToken bounds an access token, in bytes.
const MaxToken = 8 << 10

// The errors that callers branch on, with errors.Is; the same on both sides of
// a call that went through ClientWrapper.
var (
	// ErrInvalidToken is the error of a token that is missing, malformed,
	// expired, revoked, or of somebody who is not trusted: 401. Its text says
	// which, and holds nothing of the token.
	ErrInvalidToken = rpcerr.ErrUnauthenticated
	// ErrForbidden is the error of a good token whose account may not do it: 403.
	ErrForbidden = rpcerr.ErrForbidden
	// ErrUnavailable is the error of what cannot be told or done now because
	// the issuer of tokens has not been reached.
	ErrUnavailable = rpcerr.ErrUnavailable
	// ErrLimited is the error of an issuer that was asked too often.
	ErrLimited = rpcerr.ErrLimited
	// ErrInvalid is the error of options and arguments.
	ErrInvalid = rpcerr.ErrInvalid
	// ErrStopped is the error of Start and Token after Stop.
	ErrStopped = lifecycle.ErrStopped
)

// Token is what an account may show to others. Those that an Auth hands out are
// shared: they are read only.
type Token struct {
	AccessToken  string
	RefreshToken string
	TokenType    string // "Bearer"
	ExpiresAt    time.Time
	Scopes       []string
	// Audience names the one service or topic that the token is for; all others
	// refuse it. It is empty when the audience is not known.
	Audience []string
	// Metadata of a verified token holds what the issuer keeps of the account,
	// and under these names, which nobody else can set: sub (account id),
	// client_id, type ("service" or "user"), roles (space separated), iss, jti,
	// sid, and act, who acts for the account, if there is somebody. What the
	// requester of the token wrote is under "request.": it is not an identity.
	Metadata map[string]string
}

// Account returns the id of the account that a verified token speaks for, ""
// for nil.
func (t *Token) Account() string {
	if t == nil {
		return ""
	}
	return t.Metadata["sub"]
}

// Request is what somebody wants to call. Both of go-micro's requests are one.
// For a message the method is its topic.
type Request interface {
	Service() string
	Method() string
}

// Auth is implemented by the plugins. All methods are safe for concurrent use.
// What says that it verifies does so fully, and without a token fails: no method
// ever falls back to the service's own token.
type Auth interface {
	// Authorized verifies the token in ctx (see FromContext). If the token is
	// good and its account may make req, it returns the token with what was
	// verified of it. A server asks about its caller. A client asks about a
	// token that it put there with NewContext, to learn beforehand what the
	// server would say; where each service is told only its own rules, as by
	// auth-srv, the answer about another service is ErrUnavailable unless the
	// account of this Auth is an admin's.
	//
	// Authorized makes no call and does not block, except on an Auth that was
	// just started and knows no keys yet: there it waits up to two seconds for
	// the first answer of the issuer. It returns ErrInvalidToken, ErrForbidden
	// with the rule that denied the call, or ErrUnavailable while nothing is
	// known to verify tokens with. After Stop it decides by what was known at
	// Stop.
	Authorized(ctx context.Context, req Request) (*Token, error)
	// Token returns the service's own token. Where each token is for one
	// service, this one is for the issuer alone: see Source. The token is kept
	// fresh in the background; while there is none, Token waits a few seconds
	// at most for the request under way. It returns ErrInvalidToken when the
	// issuer rejects the credentials, ErrUnavailable or ErrLimited when the
	// issuer does not answer, and ErrStopped after Stop. It recovers by itself.
	Token() (*Token, error)
	// Introspect verifies the token in ctx and asks its issuer, who alone
	// knows of a revocation at once. While the issuer cannot be reached the
	// local verdict is returned.
	Introspect(ctx context.Context) (*Token, error)
	// Revoke ends t and, if it has a refresh token, the family of both. When
	// it returned nil this process refuses t; others do as soon as they heard.
	Revoke(t *Token) error
	// FromContext returns the token that NewContext put into ctx, else the
	// verified one of the caller (WithToken), else that of the metadata. It
	// verifies nothing.
	FromContext(ctx context.Context) (*Token, bool)
	// NewContext returns a context that carries t. ClientWrapper sends t with
	// calls in place of the service's own token. A t that is for another
	// service than the one called is exchanged first: see Exchanger.
	NewContext(ctx context.Context, t *Token) context.Context
	// FromHeader returns the token of the one authorization header, in any
	// letter case. Two of them are refused as none is. It verifies nothing.
	FromHeader(header map[string]string) (*Token, bool)
	// NewHeader sets t as the only authorization of header, in place, keeps all
	// other entries and returns header. It makes a new map when header is nil.
	// It sets no authorization when t is nil or holds what no token can.
	NewHeader(header map[string]string, t *Token) map[string]string
	// Start starts the background work, as the first call does too. It returns
	// an error for bad options, and an ErrStopped after Stop. It needs no
	// server to be there and is idempotent.
	Start() error
	// Stop ends the background work within two seconds. It is idempotent.
	Stop() error
	// String returns the name of the plugin.
	String() string
}
