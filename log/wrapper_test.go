package log_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/micro/go-platform/internal/spanctx"
	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/log/discard"
	"github.com/micro/go-platform/log/recorder"
	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/server"
)

type fakeClient struct {
	client.Client
	err    error
	stream fakeStream
}

func (c *fakeClient) Call(context.Context, client.Request, any, ...client.CallOption) error {
	return c.err
}

func (c *fakeClient) Stream(context.Context, client.Request, ...client.CallOption) (client.Stream, error) {
	if c.err != nil {
		return nil, c.err
	}
	return &c.stream, nil
}

func (c *fakeClient) Publish(context.Context, client.Message, ...client.PublishOption) error {
	return c.err
}

type fakeStream struct {
	client.Stream
	recv error
}

func (s *fakeStream) Recv(any) error { return s.recv }
func (s *fakeStream) Close() error   { return nil }

type fakeRequest struct {
	server.Request
	stream bool
}

func (fakeRequest) Service() string  { return "go.micro.srv.test" }
func (fakeRequest) Endpoint() string { return "Test.Do" }
func (r fakeRequest) Stream() bool   { return r.stream }

type fakeMessage struct{ server.Message }

func (fakeMessage) Topic() string { return "topic" }

// logged checks that exactly one event was logged, with these fields and a
// duration, and the ids of the span.
func logged(t *testing.T, rec *recorder.Output, level log.Level, want log.Fields) {
	t.Helper()
	events := rec.Events()
	rec.Reset()
	if len(events) != 1 || events[0].Level != level {
		t.Errorf("got %d events, want one of level %v", len(events), level)
		return
	}
	got := events[0].Fields
	if got["duration"] == "" || got[log.TraceField] != "t" || got[log.SpanField] != "s" {
		t.Errorf("no duration or span in %v", got)
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %q, want %q", k, got[k], v)
		}
	}
	if level == log.DebugLevel && len(got) != len(want)+3 {
		t.Errorf("got fields %v", got)
	}
}

func recorded(level log.Level) (log.Log, *recorder.Output, context.Context) {
	rec := recorder.NewOutput()
	return log.NewLog(log.WithOutput(rec), log.WithLevel(level)), rec, spanctx.With(context.Background(), span{})
}

var failures = map[string]struct {
	err          error
	status, code string
}{
	"go-micro error":   {merrors.NotFound("x", "nothing"), "error", "404"},
	"of the rpc stack": {errors.New(merrors.Timeout("x", "late").Error()), "dropped", "408"},
	"plain":            {errors.New("broken"), "error", ""},
}

func TestClientWrapper(t *testing.T) {
	l, rec, ctx := recorded(log.DebugLevel)
	fake := &fakeClient{}
	c := log.ClientWrapper(l)(fake)
	req := client.NewRequest("go.micro.srv.test", "Test.Do", nil)
	msg := client.NewMessage("topic", nil)
	for kind, do := range map[string]func() error{
		"call":    func() error { return c.Call(ctx, req, nil) },
		"publish": func() error { return c.Publish(ctx, msg) },
		"stream": func() error {
			s, err := c.Stream(ctx, req)
			if err == nil {
				if len(rec.Events()) > 0 {
					t.Error("a stream is logged before it is over")
				}
				_ = s.Recv(nil) // io.EOF
				err = s.Close()
			}
			return err
		},
	} {
		want := log.Fields{"kind": kind, "service": "go.micro.srv.test", "endpoint": "Test.Do", "status": "success"}
		if kind == "publish" {
			want = log.Fields{"kind": kind, "topic": "topic", "status": "success"}
		}
		fake.err, fake.stream.recv = nil, io.EOF
		if err := do(); err != nil {
			t.Fatal(err)
		}
		logged(t, rec, log.DebugLevel, want)
		for name, failure := range failures {
			fake.err = failure.err
			if err := do(); !errors.Is(err, failure.err) {
				t.Errorf("%s, %s: the error became %v", kind, name, err)
			}
			want["status"], want["code"], want["error"] = failure.status, failure.code, failure.err.Error()
			logged(t, rec, log.ErrorLevel, want)
		}
	}
	fake.err, fake.stream.recv = nil, errors.New("cut")
	s, err := c.Stream(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = s.Recv(nil), s.Close() // what is logged is looked at
	logged(t, rec, log.ErrorLevel, log.Fields{"error": "cut", "kind": "stream"})
}

func TestHandlerWrapper(t *testing.T) {
	l, rec, ctx := recorded(log.DebugLevel)
	wrap := log.HandlerWrapper(l)
	answer := func(err error) server.HandlerFunc {
		return wrap(func(context.Context, server.Request, any) error { return err })
	}
	want := log.Fields{"kind": "handler", "service": "go.micro.srv.test", "endpoint": "Test.Do", "status": "success"}
	if err := answer(nil)(ctx, fakeRequest{}, nil); err != nil {
		t.Fatal(err)
	}
	logged(t, rec, log.DebugLevel, want)
	want["kind"] = "handler stream"
	if err := answer(errors.New("EOS"))(ctx, fakeRequest{stream: true}, nil); err == nil || err.Error() != "EOS" {
		t.Errorf("the end of an rpc stream became %v", err)
	}
	logged(t, rec, log.DebugLevel, want)
	for name, failure := range failures {
		if err := answer(failure.err)(ctx, fakeRequest{}, nil); !errors.Is(err, failure.err) {
			t.Errorf("%s: the error became %v", name, err)
		}
		logged(t, rec, log.ErrorLevel, log.Fields{"status": failure.status, "code": failure.code, "error": failure.err.Error()})
	}
	panics(t, func() {
		_ = wrap(func(context.Context, server.Request, any) error { panic("boom") })(ctx, fakeRequest{}, nil) // it panics
	})
	logged(t, rec, log.ErrorLevel, log.Fields{"error": "panic", "status": "error"})
}

func panics(t *testing.T, do func()) {
	t.Helper()
	defer func() {
		if r := recover(); r != "boom" {
			t.Errorf("recovered %v, want the handler's panic", r)
		}
	}()
	do()
}

func TestSubscriberWrapper(t *testing.T) {
	l, rec, ctx := recorded(log.DebugLevel)
	wrap := log.SubscriberWrapper(l)
	if err := wrap(func(context.Context, server.Message) error { return nil })(ctx, fakeMessage{}); err != nil {
		t.Fatal(err)
	}
	logged(t, rec, log.DebugLevel, log.Fields{"kind": "subscriber", "topic": "topic", "status": "success"})
	broken := errors.New("broken")
	if err := wrap(func(context.Context, server.Message) error { return broken })(ctx, fakeMessage{}); !errors.Is(err, broken) {
		t.Errorf("the error became %v", err)
	}
	logged(t, rec, log.ErrorLevel, log.Fields{"error": "broken", "topic": "topic"})
	panics(t, func() {
		_ = wrap(func(context.Context, server.Message) error { panic("boom") })(ctx, fakeMessage{}) // it panics
	})
	logged(t, rec, log.ErrorLevel, log.Fields{"error": "panic"})
}

func TestSuccessIsSilentAboveDebug(t *testing.T) {
	l, rec, ctx := recorded(log.InfoLevel)
	if err := log.ClientWrapper(l)(&fakeClient{}).Call(ctx, client.NewRequest("s", "e", nil), nil); err != nil {
		t.Fatal(err)
	}
	if len(rec.Events()) != 0 {
		t.Error("logged at info level")
	}
}

func BenchmarkWrapper(b *testing.B) {
	l := log.NewLog(log.WithOutput(discard.NewOutput()))
	ctx := context.Background()
	req := client.NewRequest("s", "e", nil)
	call := func(c client.Client) func(*testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = c.Call(ctx, req, nil) // always nil
			}
		}
	}
	b.Run("client/none", call(&fakeClient{}))
	b.Run("client/off", call(log.ClientWrapper(l)(&fakeClient{})))
	if err := l.SetLevel(log.DebugLevel); err != nil {
		b.Fatal(err)
	}
	b.Run("client/on", call(log.ClientWrapper(l)(&fakeClient{})))
	if err := l.SetLevel(log.InfoLevel); err != nil {
		b.Fatal(err)
	}
	handler := log.HandlerWrapper(l)(func(context.Context, server.Request, any) error { return nil })
	b.Run("handler/off", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = handler(ctx, fakeRequest{}, nil) // always nil
		}
	})
	subscriber := log.SubscriberWrapper(l)(func(context.Context, server.Message) error { return nil })
	b.Run("subscriber/off", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = subscriber(ctx, fakeMessage{}) // always nil
		}
	})
}
