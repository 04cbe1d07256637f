package call_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/micro/go-platform/internal/call"
	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"
)

func TestOf(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want call.Result
	}{
		{"nil", nil, call.Success},
		{"eof", io.EOF, call.Success},
		{"rpc end of stream", errors.New("EOS"), call.Success},
		{"deadline", fmt.Errorf("get: %w", context.DeadlineExceeded), call.Dropped},
		{"408", merrors.Timeout("x", "late"), call.Dropped},
		{"408 as string", errors.New(merrors.Timeout("x", "late").Error()), call.Dropped},
		{"500", merrors.InternalServerError("x", "no"), call.Failure},
		{"plain", errors.New("no"), call.Failure},
	} {
		if got := call.Of(c.err); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

type fakeStream struct {
	client.Stream
	recv, send error
}

func (s *fakeStream) Recv(any) error { return s.recv }
func (s *fakeStream) Send(any) error { return s.send }
func (s *fakeStream) Close() error   { return nil }

func TestWatchStreamEndsOnce(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name   string
		stream fakeStream
		use    func(client.Stream) // what it returns is the stream's, which is not looked at
		want   error
	}{
		{"read to the end", fakeStream{recv: io.EOF}, func(s client.Stream) { _ = s.Recv(nil); _ = s.Close() }, nil},
		{"recv fails", fakeStream{recv: boom}, func(s client.Stream) { _ = s.Recv(nil); _ = s.Close() }, boom},
		{"send fails", fakeStream{send: boom}, func(s client.Stream) { _ = s.Send(nil); _ = s.Recv(nil) }, boom},
		{"send after the end", fakeStream{send: io.EOF, recv: boom}, func(s client.Stream) { _ = s.Send(nil); _ = s.Recv(nil) }, boom},
		{"closed early", fakeStream{}, func(s client.Stream) { _ = s.Recv(nil); _ = s.Close(); _ = s.Close() }, nil},
	} {
		calls, got := 0, error(nil)
		c.use(call.WatchStream(&c.stream, func(err error) { calls++; got = err }))
		if calls != 1 || !errors.Is(got, c.want) {
			t.Errorf("%s: done called %d times, with %v, want once with %v", c.name, calls, got, c.want)
		}
	}
}

func TestCodeOfAStreamOfTheGrpcStack(t *testing.T) {
	inner := merrors.New("shop", "too much", 429).Error()
	err := errors.New("rpc error: code = Unknown desc = " + inner)
	if got := call.Code(err); got != 429 {
		t.Errorf("code %d", got)
	}
	if e := call.Parse(err); e.Id != "shop" || e.Detail != "too much" {
		t.Errorf("parsed %+v", e)
	}
	if got := call.Code(errors.New("I said rpc error: code = Unknown desc = " + inner)); got != 0 {
		t.Errorf("code %d of a text that quotes one", got)
	}
}

func TestCodeOfAGRPCStreamWithoutOurs(t *testing.T) {
	if err := errors.New("rpc error: code = Unavailable desc = closing"); call.Code(err) != 0 {
		t.Errorf("got %v", call.Parse(err))
	}
}

type broken struct{ err error }

func (b *broken) Error() string { return b.err.Error() }
func (b *broken) Unwrap() error { return b.err }

func TestErrorsThatPanicAreFailures(t *testing.T) {
	for _, err := range []error{(*broken)(nil), &broken{}, (*merrors.Error)(nil)} {
		if got := call.Of(err); got != call.Failure {
			t.Errorf("%T: %v", err, got)
		}
		if e := call.Parse(err); e == nil || e.Code != 0 {
			t.Errorf("%T: parsed as %v", err, e)
		}
	}
}
