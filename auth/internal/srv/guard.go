package srv

import (
	"context"
	"fmt"
	"strings"

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
	needToken
	needAdmin
)

// needs is the whole table: a new method is refused until it is in here.
func needs(method string) need {
	switch method {
	case "Oauth2.Token", "Account.Enrol":
		return needNothing
	case "Oauth2.Authorize", "Oauth2.Revoke", "Oauth2.Introspect", "Oauth2.Keys", // each looks closer itself
		"Account.Read", "Policy.Watch":
		return needToken
	case "Account.Create", "Account.Update", "Account.Delete", "Account.Search",
		"Policy.Create", "Policy.Read", "Policy.Update", "Policy.Delete", "Policy.Search", "Policy.Check", "Policy.Diff":
		return needAdmin
	}
	return needNobody
}

type claimsKey struct{}

// callerClaims returns the claims of the caller's token, which guard checked.
func callerClaims(ctx context.Context) (*claims, bool) {
	c, ok := ctx.Value(claimsKey{}).(*claims)
	return c, ok
}

// guard authenticates the calls of this service by its own keys. Policies do
// not bind it: an admin whose policies lock everybody out can still mend them.
func (f *feed) guard(next server.HandlerFunc) server.HandlerFunc {
	return func(ctx context.Context, req server.Request, rsp any) error {
		need := needs(req.Endpoint())
		if need == needNothing {
			return next(ctx, req, rsp)
		}
		raw, err := bearer(ctx)
		if err != nil {
			return refuse(err)
		}
		c, err := f.authenticate(ctx, raw)
		if err != nil {
			return refuse(err)
		}
		if need != needToken && !(need == needAdmin && c.has(ScopeAdmin)) {
			return refuse(fmt.Errorf("%w: %s needs the scope %q", rpcerr.ErrForbidden, req.Endpoint(), ScopeAdmin))
		}
		ctx = context.WithValue(ctx, claimsKey{}, c)
		return next(auth.WithToken(ctx, c.token(raw)), req, rsp)
	}
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
