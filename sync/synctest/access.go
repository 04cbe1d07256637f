package synctest

import (
	"errors"
	"testing"

	"github.com/micro/go-platform/sync"
)

// Users are options that tell a server who asks.
type Users struct {
	Right []sync.Option // each lets in
	Wrong []sync.Option // each does not
}

// RunUsers is the suite of plugins that say who asks, on a server that demands it.
func RunUsers(t *testing.T, n New, u Users) {
	for i, right := range u.Right {
		if err := Call(n.Start(t, right)); err != nil {
			t.Errorf("right %d: %v", i, err)
		}
	}
	for i, wrong := range append(u.Wrong, sync.Namespace(sync.DefaultNamespace)) { // the last is nobody
		if err := Call(n.Start(t, wrong)); !errors.Is(err, sync.ErrForbidden) || errors.Is(err, sync.ErrUnavailable) {
			t.Errorf("wrong %d: %v, want ErrForbidden", i, err)
		}
	}
}
