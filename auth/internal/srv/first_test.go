package srv_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	authsrv "github.com/micro/go-platform/auth/internal/srv"
	"github.com/micro/go-platform/internal/rpcerr"
)

// The files of a first start are the only place that has the secrets: they go only
// if the database surely does not have the accounts.
func TestFirstStartWithoutAnAnswer(t *testing.T) {
	for name, c := range map[string]struct{ begins, away, fails, stays bool }{
		"it has begun":               {begins: true, stays: true},
		"it has begun, nobody knows": {begins: true, away: true, fails: true, stays: true},
		"it has not":                 {fails: true},
		"it has not, nobody knows":   {away: true, fails: true, stays: true},
	} {
		dir := t.TempDir()
		err := authsrv.BeginUnsure(t, dir, c.begins, c.away)
		if (err != nil) != c.fails || err != nil && !errors.Is(err, rpcerr.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
		for _, file := range []string{authsrv.AdminFile, authsrv.BootstrapFile} {
			if _, err := os.Stat(filepath.Join(dir, file)); (err == nil) != c.stays {
				t.Errorf("%s: %s: %v, want it to stay: %v", name, file, err, c.stays)
			}
		}
	}
}
