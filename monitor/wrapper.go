package monitor

import (
	"context"
	"errors"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/call"
	pb "github.com/micro/go-platform/monitor/proto"
)

// errPanic is what a handler that panicked is recorded with.
var errPanic = errors.New("panicked")

// ClientWrapper records calls, streams and publications. A stream is recorded
// with its whole duration when it is over; one that is never closed nor read to
// its end is not.
func ClientWrapper(m Monitor) client.Wrapper {
	return func(c client.Client) client.Client { return &clientWrapper{c, m, call.NewClock()} }
}

type clientWrapper struct {
	client.Client
	monitor Monitor
	clock   call.Clock
}

func (w *clientWrapper) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	begun := w.clock.Now()
	err := w.Client.Call(ctx, req, rsp, opts...)
	w.monitor.RecordStat(req, w.clock.Now()-begun, err)
	return err
}

func (w *clientWrapper) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	begun := w.clock.Now()
	done := func(err error) { w.monitor.RecordStat(req, w.clock.Now()-begun, err) }
	stream, err := w.Client.Stream(ctx, req, opts...)
	if err != nil {
		done(err)
		return nil, err
	}
	return call.WatchStream(stream, done), nil
}

func (w *clientWrapper) Publish(ctx context.Context, msg client.Message, opts ...client.PublishOption) error {
	begun := w.clock.Now()
	err := w.Client.Publish(ctx, msg, opts...)
	w.monitor.RecordStat(topic{msg.Topic(), pb.Endpoint_PUBLISHER}, w.clock.Now()-begun, err)
	return err
}

// HandlerWrapper records unary and streaming handlers. A panic is recorded as
// an error and goes on.
func HandlerWrapper(m Monitor) server.HandlerWrapper {
	clock := call.NewClock()
	return func(next server.HandlerFunc) server.HandlerFunc {
		return func(ctx context.Context, req server.Request, rsp any) error {
			begun, err := clock.Now(), errPanic
			defer func() { m.RecordStat(req, clock.Now()-begun, err) }()
			err = next(ctx, req, rsp)
			return err
		}
	}
}

// SubscriberWrapper records subscribers as HandlerWrapper does handlers.
func SubscriberWrapper(m Monitor) server.SubscriberWrapper {
	clock := call.NewClock()
	return func(next server.SubscriberFunc) server.SubscriberFunc {
		return func(ctx context.Context, msg server.Message) error {
			begun, err := clock.Now(), errPanic
			defer func() {
				m.RecordStat(topic{msg.Topic(), pb.Endpoint_SUBSCRIBER}, clock.Now()-begun, err)
			}()
			err = next(ctx, msg)
			return err
		}
	}
}

// topic is the Request of a message.
type topic struct {
	name string
	side pb.Endpoint_Side
}

func (t topic) Service() string { return "" }
func (t topic) Method() string  { return t.name }
