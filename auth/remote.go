package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/metadata"

	"github.com/micro/go-platform/auth/internal/jwt"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpc"
)

// callTimeout bounds a call to go.micro.srv.auth.
const callTimeout = 3 * time.Second

// remote is go.micro.srv.auth as the plugin sees it.
type remote struct {
	opts    Options
	servers *rpc.Addrs
	held    rpc.Held
}

func newRemote(o Options) *remote { return &remote{opts: o, servers: rpc.NewAddrs(o.Addresses...)} }

func (r *remote) open() {
	r.held.Open(func() (client.Client, func()) {
		if r.opts.Fingerprint == "" {
			return r.servers.Acquire(r.opts.Client, r.opts.TLS)
		}
		return r.pinned()
	})
}

// pinned returns a client that speaks only to the server with the key.
func (r *remote) pinned() (client.Client, func()) {
	conf := rpc.Config{Registry: memreg.New()}
	if r.opts.Client != nil {
		o := r.opts.Client.Options()
		conf.Registry, conf.Logger = o.Registry, o.Logger
	}
	conf.TLS, _ = rpc.Pinned(r.opts.TLS, ServiceName, r.opts.Fingerprint) // Validate has seen the fingerprint
	c := rpc.NewClient(conf)
	return c, c.Close
}

func (r *remote) get() (client.Client, error) {
	c, open := r.held.Get()
	if !open {
		return nil, fmt.Errorf("%s: not started: %w", ServiceName, ErrUnavailable)
	}
	return c, nil
}

type plainKey struct{}

// plain marks a call whose authorization, or lack of it, ClientWrapper leaves
// alone: the client that the plugin was given may have one around it, which
// would wait for the token that is being asked for.
func plain(ctx context.Context, token string) context.Context {
	md := metadata.Metadata{}
	if token != "" {
		md[Header] = Bearer + " " + token
	}
	return context.WithValue(metadata.NewContext(ctx, md), plainKey{}, true)
}

func isPlain(ctx context.Context) bool { return ctx.Value(plainKey{}) != nil }

// fetchToken gets the service's own token for an audience.
func (r *remote) fetchToken(ctx context.Context, audience string) (*Token, time.Duration, error) {
	return r.ask(ctx, "own token", audience, &pb.TokenRequest{GrantType: "client_credentials", Scopes: r.opts.Scopes})
}

// accessTokenType is that of RFC 8693, section 3.
const accessTokenType = "urn:ietf:params:oauth:token-type:access_token" //nolint:gosec // not a secret

// exchange gets a token with which the service acts at the audience for the
// account of another token.
func (r *remote) exchange(ctx context.Context, token, audience string) (*Token, time.Duration, error) {
	return r.ask(ctx, "another token", audience, &pb.TokenRequest{
		GrantType: "urn:ietf:params:oauth:grant-type:token-exchange", SubjectToken: token, SubjectTokenType: accessTokenType,
	})
}

func (r *remote) ask(ctx context.Context, doing, audience string, req *pb.TokenRequest) (*Token, time.Duration, error) {
	c, err := r.get()
	if err != nil {
		return nil, 0, err
	}
	ctx = plain(ctx, "")
	req.ClientId, req.ClientSecret, req.Audience = r.opts.Id, r.opts.Secret, []string{audience}
	var rsp *pb.TokenResponse
	err = r.servers.Call(ctx, doing, callTimeout, func(opts ...client.CallOption) (err error) {
		rsp, err = pb.NewOauth2Service(ServiceName, c).Token(ctx, req, opts...)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	t := fromWire(rsp.GetToken())
	if _, ok := format(t); !ok {
		return nil, 0, fmt.Errorf("%s: %w: %s sent none that can be used", doing, ErrInvalidToken, ServiceName)
	}
	lifetime := lifetime(t)
	if lifetime <= 0 {
		return nil, 0, fmt.Errorf("%s: %w: it has expired", doing, ErrInvalidToken)
	}
	t.Audience = []string{audience}
	return t, lifetime, nil
}

// lifetime is how long a token that just arrived is good. What it says of its
// begin and end is by one clock, so that ours may be wrong.
func lifetime(t *Token) time.Duration {
	var c jwt.Claims
	if jwt.Peek(t.AccessToken, &c) == nil && c.IssuedAt > 0 {
		return min(time.Duration(min(c.Expires-c.IssuedAt, 1<<32))*time.Second, MaxLifetime)
	}
	return min(time.Until(t.ExpiresAt), MaxLifetime)
}

func fromWire(t *pb.Token) *Token {
	return &Token{
		AccessToken: t.GetAccessToken(), RefreshToken: t.GetRefreshToken(), TokenType: t.GetTokenType(),
		ExpiresAt: time.Unix(t.GetExpiresAt(), 0), Scopes: t.GetScopes(), Metadata: t.GetMetadata(),
	}
}

// introspect asks about a token in the token's own name.
func (r *remote) introspect(ctx context.Context, token string) error {
	c, err := r.get()
	if err != nil {
		return err
	}
	ctx = plain(ctx, token)
	var rsp *pb.IntrospectResponse
	err = r.servers.Call(ctx, "introspect", callTimeout, func(opts ...client.CallOption) (err error) {
		rsp, err = pb.NewOauth2Service(ServiceName, c).Introspect(ctx, &pb.IntrospectRequest{AccessToken: token}, opts...)
		return err
	})
	if err != nil {
		return err
	}
	if !rsp.Active {
		return fmt.Errorf("introspect: %w: not active", ErrInvalidToken)
	}
	return nil
}

// revoke asks in the service's own name and, if that is not enough, in the
// token's: whoever holds a token may end it.
func (r *remote) revoke(t, own *Token) error {
	err := ErrForbidden
	if own != nil {
		err = r.revokeAs(t, own.AccessToken)
	}
	if errors.Is(err, ErrForbidden) && t.AccessToken != "" {
		err = r.revokeAs(t, t.AccessToken)
	}
	return err
}

func (r *remote) revokeAs(t *Token, as string) error {
	c, err := r.get()
	if err != nil {
		return err
	}
	ctx := plain(context.Background(), as)
	req := &pb.RevokeRequest{AccessToken: t.AccessToken, RefreshToken: t.RefreshToken}
	return r.servers.Call(ctx, "revoke", callTimeout, func(opts ...client.CallOption) error {
		_, err := pb.NewOauth2Service(ServiceName, c).Revoke(ctx, req, opts...)
		return err
	})
}
