package trace_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"github.com/micro/go-platform/trace"
	"github.com/micro/go-platform/trace/recorder"
)

// world is a client "front" that calls a server "echo", both traced.
type world struct {
	front, back *recorder.Recorder
	echo        *rpctest.Echo
	client      client.Client
	service     echo.EchoService
}

func newWorld(t *testing.T, stack string, opts ...trace.Option) *world {
	net := rpctest.New(t)
	w := &world{front: recorder.NewTrace(opts...), back: recorder.NewTrace(opts...)}
	back := &registry.Service{Name: "echo"}
	w.echo = net.Serve(stack, "echo",
		server.WrapHandler(trace.HandlerWrapper(w.back, back)),
		server.WrapSubscriber(trace.SubscriberWrapper(w.back, back)))
	w.client = net.Client(stack, trace.ClientWrapper(w.front, &registry.Service{Name: "front"}))
	w.service = echo.NewEchoService("echo", w.client)
	return w
}

// one returns the only span of the recorder, when there is one.
func one(t *testing.T, r *recorder.Recorder) *trace.Span {
	t.Helper()
	rpctest.Eventually(t, "a span is collected", func() bool { return len(r.Spans()) > 0 })
	if n := len(r.Spans()); n != 1 {
		t.Fatalf("%d spans, want 1", n)
	}
	return r.Spans()[0]
}

func failure(s *trace.Span) string {
	for _, a := range s.Annotations {
		if a.Key == trace.ErrorKey {
			return string(a.Value)
		}
	}
	return ""
}

func types(s *trace.Span) (all []trace.AnnotationType) {
	for _, a := range s.Annotations {
		all = append(all, a.Type)
	}
	return all
}

// linked checks a client's and a server's span of one interaction.
func (w *world) linked(t *testing.T, name string, client, server trace.Kind) (front, back *trace.Span) {
	t.Helper()
	front, back = one(t, w.front), one(t, w.back)
	if front.Name != name || back.Name != name || front.Kind() != client || back.Kind() != server {
		t.Errorf("%s %s and %s %s, want %s %s and %s", front.Name, front.Kind(), back.Name, back.Kind(), name, client, server)
	}
	if back.TraceId != front.TraceId || back.ParentId != front.Id {
		t.Errorf("server span %s/%s is no child of %s/%s", back.TraceId, back.ParentId, front.TraceId, front.Id)
	}
	if front.Local() == nil || front.Local().Name != "front" || back.Local() == nil || back.Local().Name != "echo" {
		t.Errorf("recorded in %v and %v", front.Local(), back.Local())
	}
	if front.Duration <= 0 || back.Duration <= 0 {
		t.Errorf("durations %v and %v", front.Duration, back.Duration)
	}
	return front, back
}

func TestCall(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		w := newWorld(t, stack)
		ctx := metadata.NewContext(context.Background(), metadata.Metadata{"X-Tenant": "a", "TraceParent": "stale", "x-micro-from-service": "b"})
		ctx, root := trace.Begin(ctx, w.front, "root")
		rsp, err := w.service.Call(ctx, &echo.Request{Text: "hi"})
		if err != nil {
			t.Fatal(err)
		}
		front, _ := w.linked(t, "Echo.Call", trace.KindClient, trace.KindServer)
		if front.ParentId != root.Id || front.Destination.Name != "echo" || failure(front) != "" {
			t.Errorf("client span %+v", front)
		}
		if want := []trace.AnnotationType{trace.AnnClientRequest, trace.AnnClientResponse}; !slices.Equal(types(front), want) {
			t.Errorf("annotations %v, want %v", types(front), want)
		}
		var parents []string
		tenant := ""
		for k, v := range rsp.Metadata {
			switch strings.ToLower(k) {
			case "traceparent":
				parents = append(parents, v)
			case "x-tenant":
				tenant = v
			case "x-micro-trace-id", "b3", "x-b3-traceid":
				t.Errorf("%s was written", k)
			}
		}
		if tenant != "a" || len(parents) != 1 || parents[0] != "00-"+front.TraceId+"-"+front.Id+"-01" {
			t.Errorf("the handler saw tenant %q and traceparent %q", tenant, parents)
		}
	})
}

func TestFailedCall(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		w := newWorld(t, stack)
		if _, err := w.service.Call(context.Background(), &echo.Request{Fail: 409}); err == nil {
			t.Fatal("no error")
		}
		front, back := w.linked(t, "Echo.Call", trace.KindClient, trace.KindServer)
		if failure(front) != "told to fail" || failure(back) != "told to fail" {
			t.Errorf("errors %q and %q", failure(front), failure(back))
		}
	})
}

func TestStream(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		w := newWorld(t, stack)
		if err := rpctest.Converse(context.Background(), w.service, 2, &echo.Request{End: true}); err != nil {
			t.Fatal(err)
		}
		front, back := w.linked(t, "Echo.Stream", trace.KindClient, trace.KindServer)
		if failure(front)+failure(back) != "" {
			t.Errorf("a good stream failed: %q, %q", failure(front), failure(back))
		}
	})
}

func TestFailedStream(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		w := newWorld(t, stack)
		if err := rpctest.Converse(context.Background(), w.service, 1, &echo.Request{Fail: 500}); err == nil {
			t.Fatal("no error")
		}
		front, back := w.linked(t, "Echo.Stream", trace.KindClient, trace.KindServer)
		if !strings.Contains(failure(front), "told to fail") || failure(back) != "told to fail" {
			t.Errorf("errors %q and %q", failure(front), failure(back))
		}
	})
}

func TestStreamEndsWithItsContext(t *testing.T) {
	w := newWorld(t, rpctest.GRPC)
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := w.service.Stream(ctx); err != nil {
		t.Fatal(err)
	}
	if n := len(w.front.Spans()); n != 0 {
		t.Fatalf("%d spans of a stream that goes on", n)
	}
	cancel()
	if s := one(t, w.front); failure(s) != context.Canceled.Error() {
		t.Errorf("error %q", failure(s))
	}
}

func TestPublish(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		w := newWorld(t, stack)
		ctx := metadata.NewContext(context.Background(), metadata.Metadata{"X-Tenant": "a"})
		// The broker in memory hands the subscriber's error back to the publisher.
		if err := w.client.Publish(ctx, w.client.NewMessage(rpctest.Topic, &echo.Event{Text: "e", Fail: 500})); err == nil {
			t.Fatal("no error")
		}
		rpctest.Eventually(t, "the message arrives", func() bool { return len(w.echo.Events()) == 1 })
		front, back := w.linked(t, rpctest.Topic, trace.KindProducer, trace.KindConsumer)
		if !strings.Contains(failure(front), "told to fail") || failure(back) != "told to fail" {
			t.Errorf("errors %q and %q", failure(front), failure(back))
		}
		if md := w.echo.Events()[0].Metadata; md["X-Tenant"] != "a" && md["x-tenant"] != "a" {
			t.Errorf("the subscriber saw %v", md)
		}
	})
}

func TestForwardedMetadataKeepsTheTraceTogether(t *testing.T) {
	// A handler without our wrapper passes its metadata on.
	w := newWorld(t, rpctest.GRPC)
	ctx := metadata.NewContext(context.Background(), metadata.Metadata{
		"X-B3-Traceid": strings.Repeat("a", 32), "X-B3-Spanid": strings.Repeat("b", 16), "X-B3-Sampled": "1"})
	rsp, err := w.service.Call(ctx, &echo.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if s := one(t, w.front); s.TraceId != strings.Repeat("a", 32) || s.ParentId != strings.Repeat("b", 16) {
		t.Errorf("joined %s/%s", s.TraceId, s.ParentId)
	}
	for k := range rsp.Metadata {
		if strings.HasPrefix(strings.ToLower(k), "x-b3") {
			t.Errorf("a stale %s was sent", k)
		}
	}
}

func TestUnsampledCallIsPassedOn(t *testing.T) {
	w := newWorld(t, rpctest.GRPC, trace.SampleRatio(0))
	rsp, err := w.service.Call(context.Background(), &echo.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if h := rsp.Metadata["traceparent"]; !strings.HasSuffix(h, "-00") {
		t.Errorf("traceparent %q", h)
	}
	if n := len(w.front.Spans()) + len(w.back.Spans()); n != 0 {
		t.Errorf("%d spans", n)
	}
}

func TestPanicsGoOn(t *testing.T) {
	r := recorder.NewTrace()
	req := request{}
	panics := func(what string, f func()) {
		defer func() {
			if recover() == nil {
				t.Errorf("%s: the panic was swallowed", what)
			}
			if s := one(t, r); failure(s) != "panic" {
				t.Errorf("%s: error %q", what, failure(s))
			}
			r.Reset()
		}()
		f()
	}
	panics("handler", func() {
		_ = trace.HandlerWrapper(r, nil)(func(context.Context, server.Request, any) error { panic("x") })(context.Background(), req, nil) // it panics
	})
	panics("subscriber", func() {
		_ = trace.SubscriberWrapper(r, nil)(func(context.Context, server.Message) error { panic("x") })(context.Background(), message{}) // it panics
	})
	panics("work", func() {
		_ = trace.Do(context.Background(), r, "work", func(context.Context) error { panic("x") }) // it panics
	})
}

func TestTheServiceOfTheOptionsIsTheDefault(t *testing.T) {
	r := recorder.NewTrace(trace.Service(&registry.Service{Name: "shop"}))
	req := request{header: map[string]string{"micro-from-service": "web"}}
	if err := trace.HandlerWrapper(r, nil)(func(context.Context, server.Request, any) error { return nil })(context.Background(), req, nil); err != nil {
		t.Fatal(err)
	}
	if s := one(t, r); s.Local() == nil || s.Local().Name != "shop" || s.Remote() == nil || s.Remote().Name != "web" {
		t.Errorf("recorded in %v, called by %v", s.Local(), s.Remote())
	}
}

func TestANilSpanIsNoSpan(t *testing.T) {
	r := recorder.NewTrace()
	if _, ok := r.FromContext(r.NewContext(context.Background(), nil)); ok {
		t.Error("nil came back as a span")
	}
}

func TestDo(t *testing.T) {
	r := recorder.NewTrace(trace.Service(&registry.Service{Name: "shop"}))
	failed := errors.New("sold out")
	err := trace.Do(context.Background(), r, "outer", func(ctx context.Context) error {
		return trace.Do(ctx, r, "inner", func(ctx context.Context) error {
			s, _ := r.FromContext(ctx)
			s.Annotate("item", "tea")
			return failed
		})
	})
	spans := r.Spans()
	if !errors.Is(err, failed) || len(spans) != 2 {
		t.Fatalf("got %v, %d spans", err, len(spans))
	}
	inner, outer := spans[0], spans[1]
	if inner.ParentId != outer.Id || inner.Name != "inner" || failure(inner) != "sold out" || string(inner.Annotations[0].Value) != "tea" ||
		inner.Local().Name != "shop" || inner.Kind() != trace.KindInternal {
		t.Errorf("inner %+v of outer %+v", inner, outer)
	}
}

type request struct {
	server.Request
	header map[string]string
}

func (r request) Endpoint() string          { return "Shop.Buy" }
func (r request) Service() string           { return "shop" }
func (r request) Header() map[string]string { return r.header }

type message struct{ server.Message }

func (message) Topic() string             { return "topic" }
func (message) Header() map[string]string { return nil }
