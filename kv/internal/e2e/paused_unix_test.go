//go:build unix

package e2e_test

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/rpctest"
)

// A member that is stopped is removed, and what it thinks when it goes on is of
// the past.
func TestFaultKVPaused(t *testing.T) {
	kvSizes(t, func(t *testing.T, r *kvRing) {
		l := startKVLoad(r, kvClients)
		<-time.After(rpctest.Phase() / 2)
		r.signal(r.members[0], syscall.SIGSTOP)
		<-time.After(max(4*time.Second, rpctest.Phase()/2))
		r.signal(r.members[0], syscall.SIGCONT)
		<-time.After(2 * rpctest.Phase())
		l.check(r, 1)
	})
}

func (r *kvRing) signal(m *kvProcess, s os.Signal) {
	r.t.Helper()
	if err := m.Cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}
