package backend

import (
	"context"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
)

// late is a testing.TB whose cleanups run when the test says so.
type late struct {
	testing.TB
	failed   string
	cleanups []func()
}

func (l *late) Errorf(f string, a ...any) { l.failed = fmt.Sprintf(f, a...) }
func (l *late) Cleanup(f func())          { l.cleanups = append(l.cleanups, f) }

func TestServerThatDiesByItselfFailsTheTest(t *testing.T) {
	tb := late{TB: t}
	s := Redis(&tb)
	s.inst.proc.signal(syscall.SIGSEGV)
	<-s.inst.proc.exited
	for _, cleanup := range tb.cleanups {
		cleanup()
	}
	if !strings.Contains(tb.failed, "ended during the test") {
		t.Errorf("failed with %q; want it to say that the server ended", tb.failed)
	}
}

func TestStartThatFailsShowsTheOutput(t *testing.T) {
	find := program("redis-server")
	bin, ok := find()
	if !ok {
		missing(t, "redis", "GO_PLATFORM_REDIS")
	}
	k := kind{
		name:     "redis",
		ports:    usual(1),
		patience: stopPatience,
		command:  func(p *place) []string { return []string{p.bin, "--port", "nonsense"} },
		ready:    func(_ context.Context, p *place) error { return probeTCP(t.Context(), p.addr(0), "PING\r\n", "+PONG") },
	}
	_, err := launch(t.Context(), k, bin, request{})
	if err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("launch = %v; want the server's own words", err)
	}
}

func TestTakenPortIsTriedAgain(t *testing.T) {
	find := program("redis-server")
	bin, ok := find()
	if !ok {
		missing(t, "redis", "GO_PLATFORM_REDIS")
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // nobody writes to it
	_, number, _ := net.SplitHostPort(taken.Addr().String())
	tries := 0
	k := kind{
		name:     "redis",
		ports:    usual(1),
		patience: stopPatience,
		command: func(p *place) []string {
			if tries++; tries == 1 {
				return []string{p.bin, "--port", number}
			}
			return []string{p.bin, "--port", p.port(0)}
		},
		ready: func(ctx context.Context, p *place) error { return probeTCP(ctx, p.addr(0), "PING\r\n", "+PONG") },
	}
	inst, err := launch(t.Context(), k, bin, request{})
	if err != nil {
		t.Fatal(err)
	}
	if err := inst.close(); err != nil {
		t.Error(err)
	}
	if tries != 2 {
		t.Errorf("%d tries; want 2", tries)
	}
}
