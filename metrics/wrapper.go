package metrics

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/micro/go-platform/internal/call"
	"go-micro.dev/v6/client"
	"go-micro.dev/v6/server"
)

// maxServices bounds the service names a handler wrapper tells apart: on the
// rpc stack the name is what the caller wrote into a header.
const maxServices = 16

// ClientWrapper counts what a client does: for Call and Stream
//
//	client.calls        service, method, status (success, error, dropped)
//	client.errors       service, method, code (go-micro's, 0 if unknown)
//	client.duration_us  service, method, status
//
// and for Publish publisher.calls, .errors and .duration_us with topic instead
// of service and method. A stream counts when it is over.
func ClientWrapper(m Metrics) client.Wrapper {
	calls := newRecorder(m, "client", "service", "method")
	publications := newRecorder(m, "publisher", "topic", "")
	return func(c client.Client) client.Client {
		return &clientWrapper{c, calls, publications}
	}
}

type clientWrapper struct {
	client.Client
	calls, publications *recorder
}

func (c *clientWrapper) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	start := c.calls.clock.Now()
	err := c.Client.Call(ctx, req, rsp, opts...)
	c.calls.record(req.Service(), req.Endpoint(), start, err)
	return err
}

func (c *clientWrapper) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	start, service, method := c.calls.clock.Now(), req.Service(), req.Endpoint()
	stream, err := c.Client.Stream(ctx, req, opts...)
	if err != nil {
		c.calls.record(service, method, start, err)
		return stream, err
	}
	return call.WatchStream(stream, func(err error) {
		c.calls.record(service, method, start, err)
	}), nil
}

func (c *clientWrapper) Publish(ctx context.Context, msg client.Message, opts ...client.PublishOption) error {
	start := c.publications.clock.Now()
	err := c.Client.Publish(ctx, msg, opts...)
	c.publications.record(msg.Topic(), "", start, err)
	return err
}

// HandlerWrapper counts what a server handles: server.calls, server.errors and
// server.duration_us with the fields of ClientWrapper. A stream counts when its
// handler returns; a panic counts as an error and goes on. Of service names,
// which a caller may make up, the first 16 are told apart; the rest is "other".
func HandlerWrapper(m Metrics) server.HandlerWrapper {
	calls := newRecorder(m, "server", "service", "method")
	names := &names{known: map[string]bool{}}
	return func(next server.HandlerFunc) server.HandlerFunc {
		return func(ctx context.Context, req server.Request, rsp any) (err error) {
			start, panicked := calls.clock.Now(), true
			defer func() {
				calls.end(names.of(req.Service()), req.Endpoint(), start, err, panicked)
			}()
			err = next(ctx, req, rsp)
			panicked = false
			return err
		}
	}
}

// SubscriberWrapper counts the messages a server handles: subscriber.calls,
// .errors and .duration_us with topic.
func SubscriberWrapper(m Metrics) server.SubscriberWrapper {
	calls := newRecorder(m, "subscriber", "topic", "")
	return func(next server.SubscriberFunc) server.SubscriberFunc {
		return func(ctx context.Context, msg server.Message) (err error) {
			start, panicked := calls.clock.Now(), true
			defer func() { calls.end(msg.Topic(), "", start, err, panicked) }()
			err = next(ctx, msg)
			panicked = false
			return err
		}
	}
}

// recorder records calls of one role.
type recorder struct {
	clock  call.Clock
	ended  *Vec[outcome]
	errors *Vec[Counter]
}

// outcome is what every call with the same fields updates.
type outcome struct {
	calls    Counter
	duration Histogram
}

func newRecorder(m Metrics, role, first, second string) *recorder {
	calls, duration := m.Counter(role+".calls"), m.Histogram(role+".duration_us")
	return &recorder{
		clock: call.NewClock(),
		ended: newVec([]string{first, second, "status"}, func(f Fields) outcome {
			return outcome{calls.WithFields(f), duration.WithFields(f)}
		}),
		errors: NewCounterVec(m, role+".errors", first, second, "code"),
	}
}

func (r *recorder) record(first, second string, start time.Duration, err error) {
	r.done(first, second, start, err, call.Of(err))
}

func (r *recorder) end(first, second string, start time.Duration, err error, panicked bool) {
	result := call.Of(err)
	if panicked {
		result = call.Failure
	}
	r.done(first, second, start, err, result)
}

func (r *recorder) done(first, second string, start time.Duration, err error, result call.Result) {
	took := r.clock.Now() - start
	o := r.ended.With(first, second, result.String())
	o.calls.Incr(1)
	o.duration.Record(took.Microseconds())
	if result != call.Success {
		r.errors.With(first, second, strconv.Itoa(int(call.Code(err)))).Incr(1)
	}
}

// names lets the first maxServices names through.
type names struct {
	mu    sync.RWMutex
	known map[string]bool
}

func (n *names) of(name string) string {
	n.mu.RLock()
	known, full := n.known[name], len(n.known) >= maxServices
	n.mu.RUnlock()
	switch {
	case known:
		return name
	case full:
		return "other"
	}
	return n.learn(name)
}

func (n *names) learn(name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.known[name] && len(n.known) >= maxServices {
		return "other"
	}
	n.known[name] = true
	return name
}
