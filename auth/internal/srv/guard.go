package srv

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/internal/rpcerr"
)

// need is what a method asks of its caller.
type need int

const (
	needNobody  need = iota // not in the table: refused to all
	needNothing             // the request carries credentials of its own
	needAny                 // a good token for any audience: see about
	needToken
	needAdmin
)

// needs is the whole table: a new method is refused until it is in here.
func needs(method string) need {
	switch method {
	case "Oauth2.Token", "Account.Enrol":
		return needNothing
	case "Oauth2.Revoke", "Oauth2.Introspect":
		return needAny
	case "Oauth2.Authorize", "Oauth2.Keys", "Account.Read", "Policy.Watch", "Policy.Report": // each looks closer itself
		return needToken
	case "Account.Create", "Account.Update", "Account.Delete", "Account.Search",
		"Policy.Create", "Policy.Read", "Policy.Update", "Policy.Delete", "Policy.Search", "Policy.Check", "Policy.Diff", "Policy.Denials":
		return needAdmin
	}
	return needNobody
}

type claimsKey struct{}

// shown is the token of a caller, which guard checked.
type shown struct {
	*claims
	raw string
}

// callerClaims returns the claims of the caller's token, if it is for this
// service.
func callerClaims(ctx context.Context) (*claims, bool) {
	s, ok := ctx.Value(claimsKey{}).(*shown)
	if !ok || !s.isFor(auth.ServiceName) {
		return nil, false
	}
	return s.claims, true
}

// about returns the claims of the caller's token if that is the very token
// which the caller asks about: the service that a token is for may learn
// whether it is good, and end it. With all = false tokens for topics do not
// count: every subscriber has those.
func about(ctx context.Context, token string, all bool) (*claims, bool) {
	s, ok := ctx.Value(claimsKey{}).(*shown)
	if !ok || s.raw != token || !all && s.forTopic() {
		return nil, false
	}
	return s.claims, true
}

// guard authenticates the calls of this service by its own keys, and streams again
// while they last. Policies do not bind it: an admin whose policies lock everybody
// out can still mend them.
func (f *feed) guard(next server.HandlerFunc) server.HandlerFunc {
	return func(ctx context.Context, req server.Request, rsp any) error {
		if needs(req.Endpoint()) == needNothing {
			return next(ctx, req, rsp)
		}
		raw, err := bearer(ctx)
		if err != nil {
			return refuse(err)
		}
		c, err := f.decide(req.Endpoint(), raw)
		if err != nil {
			return refuse(err)
		}
		token := c.token(raw)
		ctx = auth.WithToken(context.WithValue(ctx, claimsKey{}, &shown{c, raw}), token)
		stream, ok := rsp.(server.Stream)
		if !ok {
			return next(ctx, req, rsp)
		}
		again := func() error { return f.still(c, req.Endpoint(), raw) }
		changed := func() <-chan struct{} { return f.now.Load().changed }
		return auth.Review{Service: auth.ServiceName, Again: again, Changed: changed, Expires: token.ExpiresAt}.
			Serve(ctx, stream, func(ctx context.Context, s server.Stream) error { return next(ctx, req, s) })
	}
}

// still is decide for a stream that decide let in: a signature that was good stays
// so, and every change of the feed asks about every stream.
func (f *feed) still(c *claims, method, raw string) error {
	if !f.revoked.has(c) && time.Now().Unix() < c.Expires {
		return nil
	}
	_, err := f.decide(method, raw)
	return err
}

// decide returns the claims of a token that may call the method.
func (f *feed) decide(method, raw string) (*claims, error) {
	need := needs(method)
	c, err := f.verify(raw)
	switch {
	case err != nil, need != needAny && !c.isFor(auth.ServiceName):
		return nil, errToken
	case need == needAny, need == needToken:
		return c, nil
	case need == needAdmin && c.has(ScopeAdmin) && c.Actor != nil:
		f.decided.deny(c, method, time.Now())
		return nil, fmt.Errorf("%w: %s is for an admin's own token, not for one that a service exchanged", rpcerr.ErrForbidden, method)
	case need == needAdmin && c.has(ScopeAdmin):
		return c, nil
	}
	f.decided.deny(c, method, time.Now())
	return nil, fmt.Errorf("%w: %s needs the scope %q", rpcerr.ErrForbidden, method, ScopeAdmin)
}

// bearer returns the token of the call's metadata. Two spellings of the header
// are refused: another reader might take the other one.
func bearer(ctx context.Context) (string, error) {
	md, _ := metadata.FromContext(ctx)
	var found []string
	for k, v := range md {
		if strings.EqualFold(k, "authorization") {
			found = append(found, v)
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%w: want one authorization header, got %d", rpcerr.ErrUnauthenticated, len(found))
	}
	scheme, token, ok := strings.Cut(found[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", fmt.Errorf("%w: want authorization: Bearer TOKEN", rpcerr.ErrUnauthenticated)
	}
	return token, nil
}
