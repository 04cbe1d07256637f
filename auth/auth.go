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
	// expired, revoked, or of somebody who is not trusted: 401.
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
	// Audience is whom the token is for, one service or topic: whoever else is
	// sent it refuses it. It is empty when that is not known.
	Audience []string
	// Metadata of a verified token holds what the issuer keeps of the account,
	// and under these names, which nobody else can set: sub (account id),
	// client_id, type ("service" or "user"), roles (space separated), iss, jti,
	// sid, and act, who acts for the account, if there is somebody. What the
	// requester of the token wrote is under "request.": it is no identity.
	Metadata map[string]string
}

// Account returns the id of the account that a verified token speaks for.
func (t *Token) Account() string { return t.Metadata["sub"] }

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
	// Authorized returns the token in ctx (see FromContext) with what is verified
	// of it, if it is good and its account may make req. A server asks it about its caller; a client about a token of its own
	// choice, put there with NewContext, to learn beforehand what the server
	// would say. Where services are told their own rules alone, as by auth-srv,
	// that is ErrUnavailable unless the account is an admin's.
	//
	// It makes no call. Only of an Auth that was just started, and that knows no
	// keys yet, it waits for the first answer of the issuer, two seconds at most.
	// It returns ErrInvalidToken,
	// ErrForbidden with the rule that said so, or, while nothing is known to
	// verify tokens with, ErrUnavailable. After Stop it goes on by what was
	// known then.
	Authorized(ctx context.Context, req Request) (*Token, error)
	// Token returns the service's own token, which is for the issuer itself
	// where tokens are for one service each: see Source. It is kept fresh in the
	// background; only while there is none, Token waits for the request under
	// way, a few seconds at most. It fails with ErrInvalidToken when the
	// issuer does not take the credentials, with ErrUnavailable or ErrLimited
	// when it does not answer, and with ErrStopped after Stop. It heals.
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
	// NewContext returns a context that carries t. ClientWrapper sends it with
	// calls instead of the service's own token, or what it was exchanged for
	// when it is not for the service that is called: see Exchanger.
	NewContext(ctx context.Context, t *Token) context.Context
	// FromHeader returns the token of the one authorization header, in any
	// letter case. Two of them are refused as none is. It verifies nothing.
	FromHeader(header map[string]string) (*Token, bool)
	// NewHeader writes t into header, which it makes when nil, as its only
	// authorization, keeps all other entries and returns it. It writes none when
	// t is nil or holds what no token can.
	NewHeader(header map[string]string, t *Token) map[string]string
	// Start begins to work, which the first call does too. It returns an error
	// for bad options, and an ErrStopped after Stop. It needs no server to be
	// there and is idempotent.
	Start() error
	// Stop ends the background work within two seconds. It is idempotent.
	Stop() error
	// String returns the name of the plugin.
	String() string
}
