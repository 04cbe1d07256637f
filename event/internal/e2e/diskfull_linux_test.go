package e2e_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/internal/rpctest"
)

// The disk is full: publishers are told, what was acknowledged stays, and it
// goes on when there is room again.
func TestFaultEventDiskFull(t *testing.T) {
	srv := startEventSrv(t)
	e := openEvent(t, srv.consul)
	l := startLoad(e, 4, time.Millisecond)
	rpctest.Eventually(t, "records are acknowledged", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.acked) > 100 })
	// No file may grow beyond 1 MB from now on.
	var had unix.Rlimit
	if err := unix.Prlimit(srv.Cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 1 << 20, Max: unix.RLIM_INFINITY}, &had); err != nil {
		t.Fatal(err)
	}
	failed := func() error {
		return e.Publish(context.Background(), &event.Record{Data: strings.Repeat("x", 500_000)})
	}
	rpctest.Eventually(t, "publishers are told", func() bool { return errors.Is(failed(), event.ErrUnavailable) })
	if err := unix.Prlimit(srv.Cmd.Process.Pid, unix.RLIMIT_FSIZE, &had, nil); err != nil {
		t.Fatal(err)
	}
	rpctest.Eventually(t, "it goes on", func() bool { return failed() == nil })
	acked := l.end()
	c := collect(t, openEvent(t, srv.consul), event.Types("load"))
	arrive(t, "follower", acked, c)
	if n := duplicates(c); n > 0 {
		t.Errorf("%d duplicates", n)
	}
	t.Logf("%d records acknowledged around a full disk, 0 lost, %d refused meanwhile", len(acked), l.errors.Load())
}
