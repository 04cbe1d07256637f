package backend

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/backend/skip"
)

// Server is a server that is ready to be used.
type Server struct {
	// Addr is "host:port" of the listener for clients.
	Addr string
	// URL is the base URL of a server that speaks HTTP, without a trailing slash, or the nats:// or postgres://
	// URL of these; empty for others.
	URL string
	// DSN opens the server with database/sql; empty for servers other than MySQL.
	DSN string

	kind   string
	shared bool
	inst   *instance // nil when the address came from the environment
}

// Option asks for a server of a special sort.
type Option func(*request)

// request is comparable but for its slice, which is why shared servers are looked up by its text.
type request struct {
	shared bool
	args   []string
	env    []string
}

func (r request) plain() bool { return len(r.args) == 0 && len(r.env) == 0 }

// Shared asks for the one server that all tests of this binary share. It cannot be killed, and TestMain has
// to stop it with [StopAfter]. Tests keep out of each other's way with keys or database names of their own.
func Shared(r *request) { r.shared = true }

// Args appends to the server's command line.
func Args(args ...string) Option {
	return func(r *request) { r.args = append(r.args, args...) }
}

// kind says how one sort of server is found, started and asked whether it is ready.
type kind struct {
	name     string
	debian   string // its package; empty where Debian has none
	ports    []span
	patience time.Duration // from start to ready, on a busy machine

	// find returns the program to run.
	find func() (string, bool)
	// prepare fills a new directory; nil when an empty one will do.
	prepare func(context.Context, *place) error
	// command returns the arguments; it is called again for every restart.
	command func(*place) []string
	// quit asks the process to end; SIGTERM when it is not set.
	quit syscall.Signal
	// ready returns nil once a client would be served.
	ready func(context.Context, *place) error
	// describe completes the Server whose Addr is set; nil when Addr is all there is.
	describe func(*Server)
}

func (k kind) variable() string { return "GO_PLATFORM_" + strings.ToUpper(k.name) }

// serve is what the function of every kind comes down to.
func serve(tb testing.TB, k kind, opts []Option) *Server {
	tb.Helper()
	var req request
	for _, opt := range opts {
		opt(&req)
	}
	s := &Server{kind: k.name, shared: req.shared}
	if addr := os.Getenv(k.variable()); addr != "" && req.plain() {
		s.Addr = addr
	} else {
		bin, ok := k.find()
		if !ok {
			missing(tb, k.name, k.debian, k.variable())
			return nil // reached only when tb is a stand-in whose Skip returns
		}
		s.inst = obtain(tb, k, bin, req)
		s.Addr = s.inst.place.addr(0)
	}
	if k.describe != nil {
		k.describe(s)
	}
	return s
}

func obtain(tb testing.TB, k kind, bin string, req request) *instance {
	tb.Helper()
	if req.shared {
		inst, err := shared.get(tb.Context(), k, bin, req)
		if err != nil {
			tb.Fatalf("backend: shared %s: %v", k.name, err)
		}
		return inst
	}
	start := time.Now()
	inst, err := launch(tb.Context(), k, bin, req)
	if err != nil {
		tb.Fatalf("backend: %s: %v", k.name, err)
	}
	tb.Logf("backend: %s at %s, ready after %v", k.name, inst.place.addr(0), time.Since(start).Round(time.Millisecond))
	tb.Cleanup(func() {
		if err := inst.close(); err != nil {
			tb.Errorf("backend: %s: %v", k.name, err)
		}
	})
	return inst
}

func missing(tb testing.TB, name, debian, variable string) {
	tb.Helper()
	remedy := `run "make backends"`
	if debian != "" {
		remedy += " or apt-get install " + debian
	}
	text := fmt.Sprintf("no %s on this machine: %s or set %s", name, remedy, variable)
	if os.Getenv("REQUIRE_BACKENDS") == "1" {
		tb.Fatal("backend: " + text)
		return
	}
	skip.Test(tb, text)
}

// Kill ends the server the hard way, as a crash would: nothing is flushed, and clients see their connections
// break. Its port and its data wait for Restart.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	s.own(tb, "Kill").kill()
}

// Restart starts the server again on the same port with the same data, after a graceful stop if it still
// runs, and returns when it is ready.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	inst, start := s.own(tb, "Restart"), time.Now()
	if err := inst.restart(tb.Context()); err != nil {
		tb.Fatalf("backend: restart %s: %v", s.kind, err)
	}
	tb.Logf("backend: %s at %s, ready again after %v", s.kind, s.Addr, time.Since(start).Round(time.Millisecond))
}

func (s *Server) own(tb testing.TB, what string) *instance {
	tb.Helper()
	switch {
	case s.inst == nil:
		tb.Fatalf("backend: %s needs a server of its own, but the address of %s came from the environment", what, s.kind)
	case s.shared:
		tb.Fatalf("backend: %s needs a server of its own, but this %s is shared with other tests", what, s.kind)
	}
	return s.inst
}
