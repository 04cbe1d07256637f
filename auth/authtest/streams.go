package authtest

import (
	"context"
	"errors"
	"testing"
	"time"

	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/auth"
)

// serverStream is a stream whose caller says nothing.
type serverStream struct {
	server.Stream
	ctx context.Context
}

func (s serverStream) Send(any) error { return s.ctx.Err() }

func (s serverStream) Recv(any) error {
	<-s.ctx.Done()
	return s.ctx.Err()
}

// streams checks that a stream whose token was revoked ends within a second, also
// when its handler waits for its caller, and that others go on.
func streams(t *testing.T, f *Fixture) {
	f.ready(t)
	revoked, spared := f.Token(t, "suite.revoked"), f.Token(t, "suite.spared")
	began, left := make(chan struct{}, 2), make(chan error, 2)
	handler := auth.HandlerWrapper(f.Auth, auth.As(Service))(func(ctx context.Context, _ server.Request, rsp any) error {
		began <- struct{}{}
		s := rsp.(server.Stream)
		err := s.Recv(nil)
		left <- errors.Join(ctx.Err(), s.Send(nil))
		return err
	})
	open := func(ctx context.Context, token string) <-chan error {
		t.Helper()
		over := make(chan error, 1)
		go func() {
			over <- handler(metadata.NewContext(ctx, metadata.Metadata{"authorization": "Bearer " + token}), serverRequest{}, serverStream{ctx: ctx})
		}()
		select {
		case <-began:
		case err := <-over:
			t.Fatalf("it did not begin: %v", err)
		}
		return over
	}
	going, stop := context.WithCancel(t.Context())
	defer stop()
	gone, end := context.WithCancel(t.Context())
	defer end()
	first, second := open(gone, revoked), open(going, spared)
	if err := f.Auth.Revoke(&auth.Token{AccessToken: revoked, TokenType: "Bearer"}); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	var e *merrors.Error
	select {
	case err := <-first:
		if !errors.As(err, &e) || e.Code != 401 {
			t.Errorf("it ended with %v, want 401", err)
		}
		t.Logf("it ended %v after the revocation", time.Since(begun))
	case <-time.After(5 * time.Second):
		t.Fatal("a stream goes on after its token was revoked")
	}
	end() // as a server does once the stream was answered
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the handler may go on: %v", err)
	}
	select {
	case err := <-second:
		t.Errorf("another's ended, too: %v", err)
	default:
	}
	stop()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("a stream that its caller left: %v", err)
	}
}
