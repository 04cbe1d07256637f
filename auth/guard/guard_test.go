package guard_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"
	mmetadata "go-micro.dev/v6/metadata"
	"go-micro.dev/v6/server"
	mgrpc "go-micro.dev/v6/server/grpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/guard"
	"github.com/micro/go-platform/auth/guard/guardtest"
	"github.com/micro/go-platform/auth/memory"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
)

// world is an Echo behind a guard.
type world struct {
	*testing.T
	auth    *memory.Auth
	guard   *guard.Guard
	net     *rpctest.Net
	address string
	mu      sync.Mutex
	reasons map[string]int
}

const name = "shop"

func begin(t *testing.T, a auth.Auth, opts ...guard.Option) *world {
	w := &world{T: t, net: rpctest.New(t), reasons: map[string]int{}, auth: memory.NewAuth(auth.Service(name))}
	w.started(w.auth)
	if a == nil {
		a = w.auth
	}
	opts = append(opts, guard.MaxMessage(16<<20), guard.Observe(func(why string) { w.mu.Lock(); w.reasons[why]++; w.mu.Unlock() }))
	w.guard = guard.New(a, opts...)
	s := w.net.Server(rpctest.GRPC, name, mgrpc.Options(w.guard.ServerOptions()...),
		server.WrapHandler(w.guard.HandlerWrapper()), server.WrapHandler(auth.HandlerWrapper(a, auth.Open("Echo.*"))))
	if err := echo.RegisterEchoHandler(s, &rpctest.Echo{}); err != nil {
		t.Fatal(err)
	}
	w.net.Start(s)
	w.address = s.Options().Address
	return w
}

func (w *world) started(a auth.Auth) {
	w.Helper()
	if err := a.Start(); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		if err := a.Stop(); err != nil {
			w.Error(err)
		}
	})
}

func (w *world) token(account string) string {
	w.Helper()
	t, err := w.auth.Issue(memory.Account{ID: account})
	if err != nil {
		w.Fatal(err)
	}
	return t.AccessToken
}

func (w *world) call(token, text string) error {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	if token != "" {
		ctx = mmetadata.Set(ctx, "authorization", "Bearer "+token)
	}
	c := w.net.Client(rpctest.GRPC)
	rsp, err := echo.NewEchoService(name, c).Call(ctx, &echo.Request{Text: text}, client.WithRetries(0))
	if err == nil && rsp.Text != text {
		w.Errorf("%d bytes came back as %d", len(text), len(rsp.Text))
	}
	return err
}

func (w *world) refused(why string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reasons[why]
}

func codeOf(err error) int32 {
	var e *merrors.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// nothingLeft is that what ended has given back all that it had.
func (w *world) nothingLeft() {
	w.Helper()
	rpctest.Eventually(w, "nothing is in flight", func() bool {
		bytes, conns, peers := w.guard.InUse()
		return bytes == 0 && conns == 0 && peers == 0
	})
}

func (w *world) hold(a guardtest.Attack) *guardtest.Holder {
	w.Helper()
	a.Address, a.Path = w.address, "/go.platform.test.Echo/Call"
	h, err := guardtest.Hold(a)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(h.Close)
	rpctest.Eventually(w, "the flood has sent what it could", h.Settled)
	return h
}

// Who has no token is answered when its headers are there: the server takes what
// one window holds at most, which it throws away.
func TestStrangersAreRefusedUnread(t *testing.T) {
	w := begin(t, nil)
	h := w.hold(guardtest.Attack{Streams: 60, Size: 16 << 20})
	if got := h.Answers(); got["16"] != 60 || h.Sent() > 60*(64<<10) {
		t.Errorf("60 streams without a token: answers %v, %d bytes taken", got, h.Sent())
	}
	h = w.hold(guardtest.Attack{Streams: 60, Size: 16 << 20, Token: "made.up.token"})
	if got := h.Answers(); got["16"] != 60 {
		t.Errorf("60 streams with a token made up: answers %v", got)
	}
	if n := w.refused(guard.Unauthenticated); n != 120 {
		t.Errorf("%d refusals were counted", n)
	}
	if err := w.call("", "hi"); codeOf(err) != 401 {
		t.Errorf("a call without a token: %v", err)
	}
	if err := w.call(w.token("ann"), strings.Repeat("x", 15<<20)); err != nil {
		t.Errorf("a call with a token: %v", err)
	}
	if err := w.auth.SetRules(auth.Rule{Id: "no", Effect: "deny"}); err != nil {
		t.Fatal(err)
	}
	if err := w.call(w.token("ann"), "hi"); codeOf(err) != 403 || !strings.Contains(err.Error(), "no") {
		t.Errorf("a call that a rule forbids: %v", err)
	}
	w.nothingLeft()
}

// An account that holds what it may holds nobody else up, and is told so.
func TestBytesInFlight(t *testing.T) {
	w := begin(t, nil, guard.InFlight(160<<20))
	low, other := w.token("low"), w.token("other")
	for range 2 { // two connections of 20 MB, an account of 40
		h := w.hold(guardtest.Attack{Streams: 60, Size: 4 << 20, Token: low})
		if got := h.Answers()["8"]; got < 50 {
			t.Errorf("of 60 messages of 4 MB %d were refused", got)
		}
	}
	if bytes, _, _ := w.guard.InUse(); bytes > 40<<20 {
		t.Errorf("%d MB are in flight", bytes>>20)
	}
	err := w.call(low, strings.Repeat("x", 10<<20))
	if code := codeOf(err); code != 429 {
		t.Errorf("the account that is over its budget: %d, %v", code, err)
	}
	if err := w.call(other, strings.Repeat("x", 10<<20)); err != nil {
		t.Errorf("another account of the same host: %v", err)
	}
	if w.refused(guard.Bytes) == 0 {
		t.Error("refusals were not counted")
	}
}

// What needs no token takes small messages from strangers, within a time.
func TestOpenMethods(t *testing.T) {
	w := begin(t, nil, guard.Open("Echo.*"))
	if err := w.call("", strings.Repeat("x", 60<<10)); err != nil {
		t.Errorf("60 KB: %v", err)
	}
	if err := w.call("", strings.Repeat("x", 70<<10)); codeOf(err) != 400 {
		t.Errorf("70 KB: %v", err)
	}
	if err := w.call(w.token("ann"), strings.Repeat("x", 70<<10)); err != nil {
		t.Errorf("70 KB with a token: %v", err)
	}
	h := w.hold(guardtest.Attack{Streams: 2, Size: 1 << 10})
	rpctest.Eventually(t, "what does not arrive is given up", func() bool { return h.Answers()["4"] == 2 })
	if n := w.refused(guard.Slow); n != 2 {
		t.Errorf("%d were counted as slow", n)
	}
	w.nothingLeft()
}

// later is an Auth that knows nothing to verify with until it is told.
type later struct {
	*memory.Auth
	known atomic.Bool
	asked chan struct{}
}

func (l *later) Authorized(ctx context.Context, req auth.Request) (*auth.Token, error) {
	if !l.known.Load() {
		select {
		case l.asked <- struct{}{}:
		default:
		}
		return nil, auth.ErrUnavailable
	}
	return l.Auth.Authorized(ctx, req)
}

func TestWhatCannotBeJudgedYetWaits(t *testing.T) {
	l := &later{Auth: memory.NewAuth(auth.Service(name)), asked: make(chan struct{}, 1)}
	// Through the interface, so that HandlerWrapper asks Authorized as well.
	w := begin(t, struct{ auth.Auth }{l}, guard.As(name))
	w.auth = l.Auth
	done := make(chan error, 1)
	go func() { done <- w.call(w.token("ann"), strings.Repeat("x", 1<<20)) }()
	select {
	case <-l.asked:
	case err := <-done:
		t.Fatalf("it was not waited for: %v", err)
	}
	l.known.Store(true)
	if err := <-done; err != nil {
		t.Error(err)
	}
	l.known.Store(false)
	if err := w.call(w.token("ann"), "x"); codeOf(err) != 503 {
		t.Errorf("nothing to verify with: %v", err)
	}
	w.nothingLeft()
}

func TestStreamsAndCompression(t *testing.T) {
	w := begin(t, nil)
	c := w.net.Client(rpctest.GRPC, auth.ClientWrapper(w.auth))
	if err := rpctest.Converse(t.Context(), echo.NewEchoService(name, c), 20, &echo.Request{Text: "x", End: true}); err != nil {
		t.Errorf("a stream: %v", err)
	}
	cc, err := grpc.NewClient(w.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cc.Close() }() // the test is over
	for size, ok := range map[int]bool{1 << 20: true, 17 << 20: false} {
		var rsp echo.Response
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+w.token("ann"))
		err := cc.Invoke(ctx, "/go.platform.test.Echo/Call", &echo.Request{Text: strings.Repeat("x", size)}, &rsp, grpc.UseCompressor(gzip.Name))
		if (err == nil) != ok || ok && len(rsp.Text) != size {
			t.Errorf("%d bytes, compressed: %v", size, status.Code(err))
		}
	}
	w.nothingLeft()
}

// A nil Auth bounds what everybody sends, and takes their messages.
func TestNobodyIsJudged(t *testing.T) {
	g := guard.New(nil, guard.MaxMessage(1<<20))
	n := rpctest.New(t)
	s := n.Server(rpctest.GRPC, name, mgrpc.Options(g.ServerOptions()...))
	if err := echo.RegisterEchoHandler(s, &rpctest.Echo{}); err != nil {
		t.Fatal(err)
	}
	n.Start(s)
	svc := echo.NewEchoService(name, n.Client(rpctest.GRPC))
	for size, ok := range map[int]bool{900 << 10: true, 2 << 20: false} {
		if _, err := svc.Call(t.Context(), &echo.Request{Text: strings.Repeat("x", size)}); (err == nil) != ok {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// One option guards a user's server.
func TestServerOption(t *testing.T) {
	n, a := rpctest.New(t), memory.NewAuth(auth.Service(name))
	(&world{T: t}).started(a)
	n.Serve(rpctest.GRPC, name, guard.ServerOption(a), server.WrapHandler(auth.HandlerWrapper(a)))
	req := &echo.Request{Text: "hi"}
	if _, err := echo.NewEchoService(name, n.Client(rpctest.GRPC)).Call(t.Context(), req); codeOf(err) != 401 {
		t.Errorf("without a token: %v", err)
	}
	if _, err := echo.NewEchoService(name, n.Client(rpctest.GRPC, auth.ClientWrapper(a))).Call(t.Context(), req); err != nil {
		t.Errorf("with a token: %v", err)
	}
}

func TestHostOf(t *testing.T) {
	for in, want := range map[string]string{"192.0.2.1:1": "192.0.2.1", "[2001:db8:1:2:3::4]:1": "2001:db8:1:2::", "name:1": "name"} {
		a := addr(in)
		if got := guard.HostOf(a); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
		if tcp, err := net.ResolveTCPAddr("tcp", in); err == nil && guard.HostOf(tcp) != want {
			t.Errorf("%s: %s, want %s", in, guard.HostOf(tcp), want)
		}
	}
}

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

// What the guard costs a call, beside the wrapper that judges it again.
func BenchmarkCall(b *testing.B) {
	a := memory.NewAuth(auth.Service(name))
	if err := a.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = a.Stop() }() // it cannot fail
	for _, c := range []struct {
		name string
		opts []server.Option
	}{
		{"plain", nil},
		{"guarded", []server.Option{guard.ServerOption(a)}},
	} {
		b.Run(c.name, func(b *testing.B) {
			n := rpctest.New(b)
			n.Serve(rpctest.GRPC, name, append(c.opts, server.WrapHandler(auth.HandlerWrapper(a)))...)
			svc := echo.NewEchoService(name, n.Client(rpctest.GRPC, auth.ClientWrapper(a)))
			req := &echo.Request{Text: "hi"}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := svc.Call(b.Context(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
