package srv

import (
	"context"
	"fmt"

	"github.com/micro/go-platform/internal/rpcerr"
)

// judge is guard for a call whose message was not read yet, see guard.Judge.
func (f *feed) judge(ctx context.Context, method, raw string) (string, error) {
	need := needs(method)
	if need == needNothing {
		return "", nil
	}
	if raw == "" {
		return "", errToken
	}
	c, err := f.authenticate(ctx, raw)
	if err != nil {
		return "", err
	}
	if need != needToken && !(need == needAdmin && c.has(ScopeAdmin)) {
		return "", fmt.Errorf("%w: %s needs the scope %q", rpcerr.ErrForbidden, method, ScopeAdmin)
	}
	return c.Subject, nil
}
