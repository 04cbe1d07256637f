package guard_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mmetadata "go-micro.dev/v6/metadata"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/guard"
	"github.com/micro/go-platform/auth/guard/guardtest"
	"github.com/micro/go-platform/auth/memory"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
)

// open begins a stream and has one answer of it.
func (w *world) open(ctx context.Context, token string) (echo.Echo_StreamService, error) {
	if token != "" {
		ctx = mmetadata.Set(ctx, "authorization", "Bearer "+token)
	}
	s, err := echo.NewEchoService(name, w.net.Client(rpctest.GRPC)).Stream(ctx)
	if err != nil {
		return nil, err
	}
	return s, again(s)
}

func again(s echo.Echo_StreamService) error {
	if err := s.Send(&echo.Request{Text: "x"}); err != nil && !errors.Is(err, io.EOF) { // EOF: Recv has the reason
		return err
	}
	_, err := s.Recv()
	return err
}

// An account has so many streams and no more, is told so, and leaves others
// theirs.
func TestStreamsOfAnAccount(t *testing.T) {
	w := begin(t, nil, guard.MaxStreams(8), guard.Open("Echo.*"))
	low, other := w.token("low"), w.token("other")
	ctx, end := context.WithCancel(t.Context())
	defer end()
	for i := range 8 {
		if _, err := w.open(ctx, low); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
	}
	if _, err := w.open(ctx, low); call.Code(err) != 429 {
		t.Errorf("one more: %v", err)
	}
	if n := w.refused(guard.Streams); n != 1 {
		t.Errorf("%d refusals were counted", n)
	}
	if err := w.call(low, "hi"); err != nil {
		t.Errorf("a call that is not a stream: %v", err)
	}
	if _, err := w.open(ctx, other); err != nil {
		t.Errorf("another account of the same host: %v", err)
	}
	if _, err := w.open(ctx, ""); err != nil {
		t.Errorf("a caller without a token: %v", err)
	}
	if _, err := w.open(ctx, ""); call.Code(err) != 429 {
		t.Errorf("a second one of that host: %v", err)
	}
	end()
	rpctest.Eventually(t, "what ended is given back", func() bool {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, err := w.open(ctx, low)
		return err == nil
	})
	w.nothingLeft()
}

// A stream that is open without a token may be silent for longer than a message
// may take; a message that has begun may not.
func TestOpenStreamsMayBeSilent(t *testing.T) {
	const within = 300 * time.Millisecond
	w := begin(t, nil, guard.Open("Echo.*"), guard.StrangersWithin(within))
	s, err := w.open(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	<-time.After(3 * within) // how long it is silent, not a wait for anything
	if err := again(s); err != nil {
		t.Errorf("after a silence: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	h := w.hold(guardtest.Attack{Streams: 1, Size: 1 << 10})
	rpctest.Eventually(t, "a message that does not arrive is given up", func() bool { return h.Answers()["4"] == 1 })
	w.nothingLeft()
}

// One host of strangers leaves room for the strangers of others, and what it
// announces and does not send takes nothing.
func TestAHostOfStrangers(t *testing.T) {
	w := begin(t, nil, guard.Open("Echo.*"), guard.InFlight(64<<20), guard.StrangersWithin(time.Minute))
	flood := func(a guardtest.Attack) {
		a.Address, a.Path, a.Local = w.address, "/go.platform.test.Echo/Call", "127.0.0.2"
		h, err := guardtest.Hold(a)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Close)
		rpctest.Eventually(t, "the flood has sent what it could", h.Settled)
	}
	for range 4 {
		flood(guardtest.Attack{Streams: 100, Size: 64 << 10})
	}
	if bytes, _, _ := w.guard.InUse(); bytes > 64<<20/4/8 {
		t.Errorf("a host of strangers holds %d KB", bytes>>10)
	}
	for range 10 {
		if err := w.call("", strings.Repeat("x", 60<<10)); err != nil {
			t.Errorf("a stranger at another host: %v", err)
		}
	}
	if w.refused(guard.Bytes) == 0 {
		t.Error("refusals were not counted")
	}
}

// failing is an Auth whose provider is away.
type failing struct {
	*memory.Auth
	asked atomic.Int64
}

func (f *failing) Authorized(context.Context, auth.Request) (*auth.Token, error) {
	f.asked.Add(1)
	return nil, auth.ErrUnavailable
}

// A provider that is away is not asked again and again for one call.
func TestAFailingProviderIsLeftInPeace(t *testing.T) {
	f := &failing{Auth: memory.NewAuth(auth.Service(name))}
	w := begin(t, struct{ auth.Auth }{f}, guard.As(name))
	if err := w.call(w.token("ann"), "x"); codeOf(err) != 503 {
		t.Errorf("got %v", err)
	}
	if n := f.asked.Load(); n < 3 || n > 40 {
		t.Errorf("asked %d times within two seconds", n)
	}
}

// An Auth that says neither who nor why not lets nobody in.
type silent struct{ auth.Auth }

func (silent) Authorized(context.Context, auth.Request) (*auth.Token, error) { return nil, nil }

func TestNoTokenAndNoErrorIsARefusal(t *testing.T) {
	judge := guard.JudgeOf(silent{memory.NewAuth(auth.Service(name))}, guard.As(name))
	if account, err := judge(t.Context(), "Echo.Call", "token"); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("%q, %v", account, err)
	}
}
