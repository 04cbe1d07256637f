package kvtest

import (
	"errors"
	"testing"

	"github.com/micro/go-platform/kv"
)

// Call returns nil only if k has put an item and found it.
func Call(k kv.KV) error {
	key := Fresh()
	if err := k.Put(&kv.Item{Key: key, Value: []byte("v")}); err != nil {
		return err
	}
	_, err := k.Get(key)
	return err
}

// Users are options that tell a server who asks.
type Users struct {
	Right []kv.Option // each lets in
	Wrong []kv.Option // each does not
}

// RunUsers is the suite of plugins that say who asks, on a server that demands it.
func RunUsers(t *testing.T, n New, u Users) {
	for i, right := range u.Right {
		if err := Call(n.Start(t, right)); err != nil {
			t.Errorf("right %d: %v", i, err)
		}
	}
	for i, wrong := range append(u.Wrong, kv.Namespace(kv.DefaultNamespace)) { // the last is nobody
		if err := Call(n.Start(t, wrong)); !errors.Is(err, kv.ErrForbidden) || errors.Is(err, kv.ErrUnavailable) {
			t.Errorf("wrong %d: %v, want ErrForbidden", i, err)
		}
	}
}
