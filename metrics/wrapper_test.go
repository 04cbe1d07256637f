package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/metrics"
	"github.com/micro/go-platform/metrics/recorder"
)

// fakeClient answers every call with err.
type fakeClient struct {
	client.Client
	err    error
	stream client.Stream
	ctx    context.Context
}

func (c *fakeClient) Call(ctx context.Context, _ client.Request, _ any, _ ...client.CallOption) error {
	c.ctx = ctx
	return c.err
}

func (c *fakeClient) Stream(context.Context, client.Request, ...client.CallOption) (client.Stream, error) {
	return c.stream, c.err
}

func (c *fakeClient) Publish(context.Context, client.Message, ...client.PublishOption) error {
	return c.err
}

type fakeStream struct {
	client.Stream
	err error
}

func (s fakeStream) Recv(any) error { return s.err }
func (s fakeStream) Close() error   { return nil }

type fakeRequest struct {
	client.Request
	service, endpoint string
}

func (r fakeRequest) Service() string  { return r.service }
func (r fakeRequest) Endpoint() string { return r.endpoint }

type serverRequest struct {
	server.Request
	service, endpoint string
}

func (r serverRequest) Service() string  { return r.service }
func (r serverRequest) Endpoint() string { return r.endpoint }

type fakeMessage struct {
	client.Message
	topic string
}

func (m fakeMessage) Topic() string { return m.topic }

type serverMessage struct {
	server.Message
	topic string
}

func (m serverMessage) Topic() string { return m.topic }

// outcomes are the errors a call can end with, and how they are counted.
var outcomes = []struct {
	name, status, code string
	err                error
}{
	{"success", "success", "", nil},
	{"not found", "error", "404", merrors.NotFound("x", "no")},
	{"plain error", "error", "0", errors.New("no")},
	{"timeout", "dropped", "408", merrors.Timeout("x", "late")},
	{"deadline", "dropped", "0", context.DeadlineExceeded},
	{"end of an rpc stream", "success", "", errors.New("EOS")},
}

// check reports whether one call was recorded, in its count, duration and error.
func check(t *testing.T, r *recorder.Metrics, role string, f metrics.Fields, status, code string) {
	t.Helper()
	with := func(name, value string) metrics.Fields {
		out := metrics.Fields{name: value}
		for k, v := range f {
			out[k] = v
		}
		return out
	}
	if n := r.CounterValue(role+".calls", with("status", status)); n != 1 {
		t.Errorf("%s.calls %s: %d, want 1", role, status, n)
	}
	if d := r.Samples(role+".duration_us", with("status", status)); len(d) != 1 || d[0] < 0 {
		t.Errorf("%s.duration_us %s: %v, want one", role, status, d)
	}
	if code != "" {
		if n := r.CounterValue(role+".errors", with("code", code)); n != 1 {
			t.Errorf("%s.errors %s: %d, want 1", role, code, n)
		}
	}
}

func TestClientWrapper(t *testing.T) {
	req := fakeRequest{service: "orders", endpoint: "Orders.Create"}
	call := metrics.Fields{"service": "orders", "method": "Orders.Create"}
	for _, o := range outcomes {
		t.Run(o.name, func(t *testing.T) {
			r := recorder.NewMetrics()
			fake := &fakeClient{err: o.err}
			c := metrics.ClientWrapper(r)(fake)
			type key struct{}
			ctx := context.WithValue(context.Background(), key{}, 1)
			if err := c.Call(ctx, req, nil); !errors.Is(err, o.err) {
				t.Errorf("Call returned %v", err)
			}
			if fake.ctx != ctx {
				t.Error("the context was changed")
			}
			check(t, r, "client", call, o.status, o.code)

			if err := c.Publish(ctx, fakeMessage{topic: "news"}); !errors.Is(err, o.err) {
				t.Errorf("Publish returned %v", err)
			}
			check(t, r, "publisher", metrics.Fields{"topic": "news"}, o.status, o.code)

			r = recorder.NewMetrics()
			if _, err := metrics.ClientWrapper(r)(&fakeClient{err: o.err, stream: fakeStream{err: io.EOF}}).Stream(ctx, req); !errors.Is(err, o.err) {
				t.Errorf("Stream returned %v", err)
			}
			if o.err != nil {
				check(t, r, "client", call, o.status, o.code)
			}
		})
	}
}

func TestClientStreamCountsAtItsEnd(t *testing.T) {
	call := metrics.Fields{"service": "orders", "method": "Orders.Watch"}
	for _, o := range outcomes[1:] {
		r := recorder.NewMetrics()
		c := metrics.ClientWrapper(r)(&fakeClient{stream: fakeStream{err: o.err}})
		stream, err := c.Stream(context.Background(), fakeRequest{service: "orders", endpoint: "Orders.Watch"})
		if err != nil {
			t.Fatal(err)
		}
		r.Each(func(metrics.Kind, string, metrics.Fields) { t.Errorf("%s: counted when it was opened", o.name) })
		if err := stream.Recv(nil); !errors.Is(err, o.err) {
			t.Errorf("Recv returned %v", err)
		}
		_ = stream.Close() // it has ended
		check(t, r, "client", call, o.status, o.code)
	}
}

func TestHandlerAndSubscriberWrapper(t *testing.T) {
	for _, o := range outcomes {
		r := recorder.NewMetrics()
		handler := metrics.HandlerWrapper(r)(func(context.Context, server.Request, any) error { return o.err })
		if err := handler(context.Background(), serverRequest{service: "orders", endpoint: "Orders.Create"}, nil); !errors.Is(err, o.err) {
			t.Errorf("handler returned %v", err)
		}
		check(t, r, "server", metrics.Fields{"service": "orders", "method": "Orders.Create"}, o.status, o.code)

		subscriber := metrics.SubscriberWrapper(r)(func(context.Context, server.Message) error { return o.err })
		if err := subscriber(context.Background(), serverMessage{topic: "news"}); !errors.Is(err, o.err) {
			t.Errorf("subscriber returned %v", err)
		}
		check(t, r, "subscriber", metrics.Fields{"topic": "news"}, o.status, o.code)
	}
}

func TestPanicIsCountedAndGoesOn(t *testing.T) {
	r := recorder.NewMetrics()
	handler := metrics.HandlerWrapper(r)(func(context.Context, server.Request, any) error { panic("boom") })
	subscriber := metrics.SubscriberWrapper(r)(func(context.Context, server.Message) error { panic("boom") })
	panics(t, func() { _ = handler(context.Background(), serverRequest{service: "orders", endpoint: "O.C"}, nil) }) // it panics
	panics(t, func() { _ = subscriber(context.Background(), serverMessage{topic: "news"}) })                        // it panics
	check(t, r, "server", metrics.Fields{"service": "orders", "method": "O.C"}, "error", "0")
	check(t, r, "subscriber", metrics.Fields{"topic": "news"}, "error", "0")
}

func panics(t *testing.T, fn func()) {
	t.Helper()
	defer func() {
		if recover() != "boom" {
			t.Error("the panic did not go on")
		}
	}()
	fn()
}

// On the rpc stack a caller chooses the service name a handler sees.
func TestSpoofedServiceNamesAreBounded(t *testing.T) {
	r := recorder.NewMetrics()
	handler := metrics.HandlerWrapper(r)(func(context.Context, server.Request, any) error { return nil })
	for i := range 10_000 {
		_ = handler(context.Background(), serverRequest{service: fmt.Sprint("made-up-", i), endpoint: "O.C"}, nil) // the handler returns nil
	}
	series, others := 0, int64(0)
	r.Each(func(kind metrics.Kind, _ string, f metrics.Fields) {
		if kind == metrics.CounterKind {
			series++
			if strings.HasPrefix(f["service"], "other") {
				others = 1
			}
		}
	})
	if series != 17 || others != 1 {
		t.Errorf("%d series, want 16 and \"other\"", series)
	}
}
