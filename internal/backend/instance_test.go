package backend

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// standIn is a testing.TB whose failures are noted and whose cleanups run when the test says so.
type standIn struct {
	testing.TB
	failed   string
	cleanups []func()
}

func (s *standIn) Errorf(f string, a ...any) { s.failed = fmt.Sprintf(f, a...) }
func (s *standIn) Cleanup(f func())          { s.cleanups = append(s.cleanups, f) }

func (s *standIn) Fatalf(f string, a ...any) {
	s.Errorf(f, a...)
	runtime.Goexit()
}

func TestServerThatDiesByItselfFailsTheTest(t *testing.T) {
	tb := standIn{TB: t}
	s := Redis(&tb)
	if s.inst == nil {
		t.Fatal("this test needs a server of its own: unset GO_PLATFORM_REDIS")
	}
	s.inst.proc.signal(syscall.SIGSEGV)
	<-s.inst.proc.exited
	for _, cleanup := range tb.cleanups {
		cleanup()
	}
	if !strings.Contains(tb.failed, "ended during the test") {
		t.Errorf("failed with %q; want it to say that the server ended", tb.failed)
	}
}

func TestOnlyOnesOwnServerIsKilled(t *testing.T) {
	for want, s := range map[string]*Server{
		"environment": {kind: "redis"},
		"shared":      {kind: "redis", shared: true, inst: new(instance)},
	} {
		for _, act := range []func(testing.TB){s.Kill, s.Restart} {
			tb := standIn{TB: t}
			done := make(chan struct{})
			go func() {
				defer close(done)
				act(&tb)
			}()
			<-done
			if !strings.Contains(tb.failed, want) {
				t.Errorf("failed with %q; want it to say %q", tb.failed, want)
			}
		}
	}
}

// redisWith is a Redis kind with arguments of the test.
func redisWith(t *testing.T, args func(*place) []string) (kind, string) {
	t.Helper()
	bin, ok := program("redis-server")()
	if !ok {
		missing(t, "redis", "redis-server", "GO_PLATFORM_REDIS")
	}
	return kind{
		name:     "redis",
		ports:    usual(1),
		patience: stopPatience,
		command:  func(p *place) []string { return append([]string{p.bin}, args(p)...) },
		ready:    func(ctx context.Context, p *place) error { return probeTCP(ctx, p.addr(0), "PING\r\n", "+PONG") },
	}, bin
}

func TestStartThatFailsShowsTheOutput(t *testing.T) {
	k, bin := redisWith(t, func(*place) []string { return []string{"--port", "nonsense"} })
	_, err := launch(t.Context(), k, bin, request{})
	if err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("launch = %v; want the server's own words", err)
	}
}

func TestTakenPortIsTriedAgain(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, number, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	tries := 0
	k, bin := redisWith(t, func(p *place) []string {
		if tries++; tries > 1 {
			number = p.port(0)
		}
		return []string{"--port", number}
	})
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

func TestPortsAreNobodyElses(t *testing.T) {
	got, err := reserve(usual(50))
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[int]bool)
	for _, p := range got {
		if seen[p.number] {
			t.Errorf("port %d twice", p.number)
		}
		seen[p.number] = true
		if _, err := reserveOne(p.number); err == nil {
			t.Errorf("port %d was given away although it is held", p.number)
		}
	}
	if err := got.release(); err != nil {
		t.Error(err)
	}
	if p, err := reserveOne(got[0].number); err != nil {
		t.Errorf("port %d is not to be had after its release: %v", got[0].number, err)
	} else if err := p.lock.Close(); err != nil {
		t.Error(err)
	}
}

func TestAddressIsHeld(t *testing.T) {
	_, text, err := net.SplitHostPort(Address(t))
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := reserveOne(number); err == nil {
		t.Error("given twice")
		_ = p.lock.Close() // nothing was written
	}
}
