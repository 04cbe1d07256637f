package kv_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/memory"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/kv"
)

// Members go on when the tokens of the links between them end: a call that was on
// its way may fail as if the other were away, and what was acknowledged is there.
func TestLinksOutliveTheirTokens(t *testing.T) {
	a := memory.NewAuth(auth.Service("shop"))
	c := newCluster(t, rpctest.GRPC)
	var all []*member
	for range 2 {
		s := c.net.Server(c.stack, "shop", server.WrapHandler(auth.HandlerWrapper(a)))
		all = append(all, c.memberOn(s, kv.Client(c.net.Client(c.stack, auth.ClientWrapper(a)))))
	}
	for _, m := range all {
		kv.AwaitStable(t, m.KV, len(all))
	}
	put, failed := map[string]bool{}, 0
	deadline := time.Now().Add(3 * time.Second)
	for i, revoked := 0, time.Now(); time.Now().Before(deadline); i++ {
		if time.Since(revoked) > 300*time.Millisecond {
			token, err := a.TokenFor("shop")
			if err != nil || a.Revoke(token) != nil {
				t.Fatal(err)
			}
			revoked = time.Now()
		}
		key := fmt.Sprint("key-", i%500)
		err := all[i%2].Put(&kv.Item{Key: key, Value: []byte("value")})
		if err == nil {
			put[key] = true
		} else if failed++; !errors.Is(err, kv.ErrUnavailable) {
			t.Fatalf("after %d calls: %v", i, err)
		}
	}
	t.Logf("%d keys, %d calls failed", len(put), failed)
	if len(put) == 0 {
		t.Error("nothing was put")
	}
	for key := range put {
		if _, err := all[1].Get(key); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}
