package synctest

import (
	"errors"
	"testing"

	"github.com/micro/go-platform/internal/netcut"
	"github.com/micro/go-platform/sync"
)

// Users are options that authenticate a plugin at its server.
type Users struct {
	Right []sync.Option // the server accepts each
	Wrong []sync.Option // the server refuses each
}

// RunUsers is the suite of plugins that authenticate, on a server that demands it.
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
			s := at(addrs...).Start(t)
			eventually(t, patience, "the good one is used", func() bool { return Call(s) == nil })
			for range 5 { // and stays in use
				if err := Call(s); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
