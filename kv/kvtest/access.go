package kvtest

import (
	"errors"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/netcut"
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

// Users are options that authenticate a plugin at its server.
type Users struct {
	Right []kv.Option // the server accepts each
	Wrong []kv.Option // the server refuses each
}

// RunUsers is the suite of plugins that authenticate, on a server that demands it.
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

// RunServers is the suite of plugins that use the next server when one is dead,
// hangs, or is something else. at makes a plugin on several addresses, of which only
// addr is good.
func RunServers(t *testing.T, at func(addrs ...string) New, addr string) {
	const dead = "127.0.0.1:1"
	hanging := netcut.New(t, addr)
	hanging.Cut() // it accepts and answers nothing
	servers := map[string][]string{
		"FirstDead": {dead, addr}, "LastDead": {addr, dead}, "FirstHangs": {hanging.Addr, addr}, "LastHangs": {addr, hanging.Addr},
	}
	for lie, answer := range netcut.Lies() {
		liar := netcut.Liar(t, answer)
		servers["FirstLies"+lie], servers["LastLies"+lie] = []string{liar, addr}, []string{addr, liar}
	}
	for name, addrs := range servers {
		t.Run(name, func(t *testing.T) {
			k := at(addrs...).Start(t, kv.Timeout(2*time.Second))
			Eventually(t, 30*time.Second, "the good one is used", func() bool { return Call(k) == nil })
			for range 10 { // and stays in use
				if err := Call(k); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
