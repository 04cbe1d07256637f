package log

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/spanctx"
	"go-micro.dev/v6/client"
	"go-micro.dev/v6/server"
)

// ClientWrapper logs every Call, Stream and Publish of a client as one event:
// at error level when it failed, at debug level when it did not. A stream is
// logged when it is over. Fields: kind ("call", "stream", "publish"), service
// and endpoint or topic, duration (as time.Duration writes it), status
// ("success", "error", "dropped"), and of a failure error and code, and the ids
// of the span. A level that is off costs no more than looking at it.
func ClientWrapper(l Log) client.Wrapper {
	return func(c client.Client) client.Client { return &loggedClient{Client: c, log: l, clock: call.NewClock()} }
}

type loggedClient struct {
	client.Client
	log   Log
	clock call.Clock
}

func (c *loggedClient) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	begun := c.clock.Now()
	err := c.Client.Call(ctx, req, rsp, opts...)
	if level, ok := wanted(c.log, err); ok {
		logCall(ctx, c.log, level, "client call", c.clock.Now()-begun, err, about("call", req.Service(), req.Endpoint()))
	}
	return err
}

func (c *loggedClient) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	begun := c.clock.Now()
	done := func(err error) {
		if level, ok := wanted(c.log, err); ok {
			logCall(ctx, c.log, level, "client stream", c.clock.Now()-begun, err, about("stream", req.Service(), req.Endpoint()))
		}
	}
	s, err := c.Client.Stream(ctx, req, opts...)
	if err != nil {
		done(err)
		return nil, err
	}
	return call.WatchStream(s, done), nil
}

func (c *loggedClient) Publish(ctx context.Context, msg client.Message, opts ...client.PublishOption) error {
	begun := c.clock.Now()
	err := c.Client.Publish(ctx, msg, opts...)
	if level, ok := wanted(c.log, err); ok {
		logCall(ctx, c.log, level, "publish", c.clock.Now()-begun, err, []Field{{"kind", "publish"}, {"topic", msg.Topic()}})
	}
	return err
}

// HandlerWrapper logs every request that a server handled, like ClientWrapper
// but of kind "handler" or "handler stream". A handler that panics is logged as
// an error, and the panic goes on.
func HandlerWrapper(l Log) server.HandlerWrapper {
	clock := call.NewClock()
	return func(next server.HandlerFunc) server.HandlerFunc {
		return func(ctx context.Context, req server.Request, rsp any) (err error) {
			begun, panicked := clock.Now(), true
			defer func() {
				failure := orPanic(err, panicked)
				if level, ok := wanted(l, failure); ok {
					kind := "handler"
					if req.Stream() {
						kind = "handler stream"
					}
					logCall(ctx, l, level, kind, clock.Now()-begun, failure, about(kind, req.Service(), req.Endpoint()))
				}
			}()
			err = next(ctx, req, rsp)
			panicked = false
			return err
		}
	}
}

// SubscriberWrapper logs every message that a subscriber handled, of kind
// "subscriber" with its topic.
func SubscriberWrapper(l Log) server.SubscriberWrapper {
	clock := call.NewClock()
	return func(next server.SubscriberFunc) server.SubscriberFunc {
		return func(ctx context.Context, msg server.Message) (err error) {
			begun, panicked := clock.Now(), true
			defer func() {
				failure := orPanic(err, panicked)
				if level, ok := wanted(l, failure); ok {
					logCall(ctx, l, level, "subscriber", clock.Now()-begun, failure, []Field{{"kind", "subscriber"}, {"topic", msg.Topic()}})
				}
			}()
			err = next(ctx, msg)
			panicked = false
			return err
		}
	}
}

var errPanic = errors.New("panic")

func orPanic(err error, panicked bool) error {
	if panicked {
		return errPanic
	}
	return err
}

// wanted returns the level of how a call ended, and whether it is on.
func wanted(l Log, err error) (Level, bool) {
	level := DebugLevel
	if err != nil && !call.Ended(err) {
		level = ErrorLevel
	}
	return level, l.Enabled(level)
}

func about(kind, service, endpoint string) []Field {
	return []Field{{"kind", kind}, {"service", service}, {"endpoint", endpoint}}
}

func logCall(ctx context.Context, l Log, level Level, message string, took time.Duration, err error, fields []Field) {
	fields = append(fields,
		Field{"duration", took.String()},
		Field{"status", call.Of(err).String()})
	if level == ErrorLevel {
		fields = append(fields, Field{"error", err.Error()})
		if code := call.Code(err); code != 0 {
			fields = append(fields, Field{"code", strconv.Itoa(int(code))})
		}
	}
	if span := spanctx.From(ctx); span != nil {
		trace, id := span.SpanIDs()
		fields = append(fields, Field{TraceField, trace}, Field{SpanField, id})
	}
	l.LogFields(level, message, fields...)
}
