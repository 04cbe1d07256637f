package auth_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/auth"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
)

// opened is a stream that has carried a message both ways.
type opened struct {
	echo.Echo_StreamService
	over chan error
}

// stream opens one, with a token, and waits for its end.
func (w *world) stream(c echo.EchoService, a auth.Auth, token string) *opened {
	w.t.Helper()
	s, err := c.Stream(a.NewContext(w.t.Context(), &auth.Token{AccessToken: token}))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := s.Send(&echo.Request{Text: "hi"}); err != nil {
		w.t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		w.t.Fatal(err)
	}
	o := &opened{s, make(chan error, 1)}
	go func() {
		_, err := s.Recv()
		o.over <- err
	}()
	return o
}

// ends fails unless the stream ends with the code.
func (o *opened) ends(t *testing.T, code int32) {
	t.Helper()
	begun := time.Now()
	select {
	case err := <-o.over:
		if call.Code(err) != code {
			t.Errorf("it ended with %v, want %d", err, code)
		}
		t.Logf("%d after %v", code, time.Since(begun))
	case <-time.After(10 * time.Second):
		t.Fatalf("it goes on, want %d", code)
	}
}

// A stream ends when its caller's token is revoked or expires, its account is
// disabled, or the rules change; others go on.
func TestStreamsAreJudgedAgain(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		w := newWorld(t).up()
		orders := w.started()
		w.guarded(stack, "shop.orders", orders)
		c := echo.NewEchoService("shop.orders", w.Client(stack, auth.ClientWrapper(orders)))
		now := time.Now().Unix()
		open := func(account string, change map[string]any) *opened {
			return w.stream(c, orders, w.issuer.Token(account, change))
		}
		spared, revoked := open("spared", nil), open("revoked", map[string]any{"jti": "one"})
		disabled, acted := open("disabled", map[string]any{"iat": now - 10}), open("user", map[string]any{
			"iat": now - 10, "act": map[string]any{"sub": "near", "since": now - 10, "act": map[string]any{"sub": "far", "since": now - 10}},
		})
		fired := open("fired", nil)

		w.srv.tell(&pb.WatchResponse{Revocations: []*pb.Revocation{{Jti: "one", ExpiresAt: now + 1000}}})
		revoked.ends(t, 401)
		w.srv.tell(&pb.WatchResponse{Revocations: []*pb.Revocation{{Account: "disabled", Before: now, ExpiresAt: now + 1000}}})
		disabled.ends(t, 401)
		w.srv.tell(&pb.WatchResponse{Revocations: []*pb.Revocation{{Account: "far", Before: now, ExpiresAt: now + 1000}}})
		acted.ends(t, 401)
		w.srv.setRules(&pb.Rule{Id: "not-fired", Effect: "deny", Accounts: []string{"fired"}}, &pb.Rule{Id: "others", Effect: "allow"})
		fired.ends(t, 403)
		select {
		case err := <-spared.over:
			t.Fatalf("it ended with others: %v", err)
		default:
		}
		// Two seconds are left of the leeway.
		open("fired no more", map[string]any{"exp": time.Now().Unix() - 58}).ends(t, 401)
		if err := spared.Send(&echo.Request{End: true}); err != nil {
			t.Error(err)
		}
		if err := <-spared.over; err != nil && !call.Ended(err) {
			t.Errorf("it ended with others: %v", err)
		}
	})
}

// From the deletion of an account at auth-srv to the end of its stream at a user's
// service, over sockets.
func TestAStreamEndsWithItsAccount(t *testing.T) {
	r := newReal(t, secure)
	r.account("shop.orders")
	a := auth.NewAuth(auth.Id("shop.orders"), auth.Secret("shop.orders secret"), auth.Client(r.Client(rpctest.GRPC)), auth.Logger(r.Logger))
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Stop() }() // the test is over
	w := &world{Net: r.Net, t: t}
	w.guarded(rpctest.GRPC, "shop.orders", a)
	c := echo.NewEchoService("shop.orders", r.Client(rpctest.GRPC, auth.ClientWrapper(a)))
	token := r.accountFor("shop.gone", "shop.orders")
	rpctest.Eventually(t, "it is good", func() bool { _, err := authorize(a, token); return err == nil })
	s := w.stream(c, a, token)
	if _, err := r.accounts.Delete(r.admin(), &pb.DeleteRequest{Id: "shop.gone"}); err != nil {
		t.Fatal(err)
	}
	s.ends(t, 401)
}

// fakeStream blocks its handler.
type fakeStream struct {
	server.Stream
	release chan struct{}
}

func (s fakeStream) Recv(any) error { <-s.release; return nil }
func (s fakeStream) Send(any) error { <-s.release; return nil }

// serve runs a Review whose verdict is that of a test.
func serve(t *testing.T, expires time.Time, changed func() <-chan struct{}, next func(context.Context, server.Stream) error) (fail func(error), over <-chan error) {
	t.Helper()
	var mu sync.Mutex
	var verdict error
	release, done := make(chan struct{}), make(chan error, 1)
	t.Cleanup(func() { close(release) })
	r := auth.Review{Service: "s", Expires: expires, Changed: changed, Again: func() error {
		mu.Lock()
		defer mu.Unlock()
		return verdict
	}}
	go func() { done <- r.Serve(t.Context(), fakeStream{release: release}, next) }()
	return func(err error) {
		mu.Lock()
		defer mu.Unlock()
		verdict = err
	}, done
}

func TestReviewTellsRefusedFromUnknown(t *testing.T) {
	receives := func(_ context.Context, s server.Stream) error { return s.Recv(nil) }
	sends := func(_ context.Context, s server.Stream) error { return s.Send(nil) }
	for name, c := range map[string]struct {
		expires time.Time
		err     error
		next    func(context.Context, server.Stream) error
		code    int32
	}{
		"refused":                     {time.Now().Add(time.Hour), auth.ErrForbidden, receives, 403},
		"refused, and cannot be told": {time.Now().Add(time.Hour), auth.ErrForbidden, sends, 403},
		"expired":                     {time.Now(), auth.ErrInvalidToken, receives, 401},
		"unknown and long expired":    {time.Now().Add(-time.Hour), auth.ErrUnavailable, receives, 401},
		"unknown, and not expired":    {time.Now().Add(time.Hour), auth.ErrUnavailable, receives, 0},
		"unknown, within the leeway":  {time.Now(), auth.ErrUnavailable, receives, 0},
	} {
		t.Run(name, func(t *testing.T) {
			fail, over := serve(t, c.expires, nil, c.next)
			fail(c.err)
			if c.code == 0 {
				select {
				case err := <-over:
					t.Errorf("it ended with %v", err)
				case <-time.After(1200 * time.Millisecond): // two looks
				}
				fail(auth.ErrInvalidToken)
				c.code = 401
			}
			if err := <-over; call.Code(err) != c.code {
				t.Errorf("got %v, want %d", err, c.code)
			}
		})
	}
}

func TestReviewPassesErrorsAndPanicsOn(t *testing.T) {
	told := errors.New("told to")
	_, over := serve(t, time.Now().Add(time.Hour), nil, func(context.Context, server.Stream) error { return told })
	if err := <-over; !errors.Is(err, told) {
		t.Errorf("got %v", err)
	}
	defer func() {
		if p := recover(); p != "told to" {
			t.Errorf("recovered %v", p)
		}
	}()
	r := auth.Review{Expires: time.Now().Add(time.Hour), Again: func() error { return nil }}
	_ = r.Serve(t.Context(), fakeStream{}, func(context.Context, server.Stream) error { panic("told to") })
	t.Error("it did not panic")
}
