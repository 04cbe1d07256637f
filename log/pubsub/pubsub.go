// Package pubsub is the output to a go-micro broker: every event is one message,
// the protobuf message Event of log/proto.
package pubsub

import (
	"context"
	"fmt"
	"strings"

	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/log"
	proto "github.com/micro/go-platform/log/proto"
	"go-micro.dev/v6/broker"
	pb "google.golang.org/protobuf/proto"
)

// Topic is where events are published without log.OutputName.
const Topic = "micro.log.event"

type brokerKey struct{}

// given tells a nil broker from none.
type given struct{ broker broker.Broker }

// Broker sets the broker; the default is broker.DefaultBroker. It is connected by
// the output and never disconnected: others may use it.
func Broker(b broker.Broker) log.OutputOption {
	return func(o *log.OutputOptions) { o.Context = context.WithValue(o.Context, brokerKey{}, given{b}) }
}

// NewOutput returns an output to the topic of log.OutputName. Topics are best
// effort: an event has left when the broker took it. Subscribers that do not listen
// at that time do not get it.
func NewOutput(opts ...log.OutputOption) log.Output {
	o := log.NewOutputOptions(opts...)
	s := &sink{topic: o.Name, broker: broker.DefaultBroker}
	if s.topic == "" {
		s.topic = Topic
	}
	if b, ok := o.Context.Value(brokerKey{}).(given); ok {
		s.broker = b.broker
	}
	c := option.Of("log")
	c.That(s.broker != nil, "Broker", "it is nil")
	s.err = c.Err()
	return log.NewBuffer(s, o)
}

type sink struct {
	topic     string
	broker    broker.Broker
	err       error // of the options
	connected bool
}

func (s *sink) Append(dst []byte, e *log.Event) []byte {
	m := &proto.Event{
		Level:     e.Level.String(),
		Fields:    make(map[string]string, len(e.Fields)),
		Timestamp: e.Timestamp,
		Message:   valid(e.Message),
	}
	for k, v := range e.Fields {
		m.Fields[valid(k)] = valid(v)
	}
	out, err := pb.MarshalOptions{}.MarshalAppend(dst, m)
	if err != nil { // only for strings that are not UTF-8, of which there are none
		return dst
	}
	return out
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func (s *sink) Open() error { return s.err }

func (s *sink) Write(ctx context.Context, events [][]byte) (int, error) {
	if err := s.connect(); err != nil {
		return 0, err
	}
	for i, body := range events {
		if ctx.Err() != nil {
			return i, ctx.Err()
		}
		m := &broker.Message{
			Header: map[string]string{"Content-Type": "application/protobuf", "Micro-Topic": s.topic},
			Body:   append([]byte(nil), body...), // brokers in memory hand it on
		}
		if err := s.broker.Publish(s.topic, m); err != nil {
			s.connected = false
			return i, fmt.Errorf("log: publish an event: %w", clean.URLError(err))
		}
	}
	return len(events), nil
}

// connect connects a broker that may be connected already, which all of
// go-micro's take for a success.
func (s *sink) connect() error {
	if s.err != nil || s.connected {
		return s.err
	}
	if err := s.broker.Connect(); err != nil {
		return fmt.Errorf("log: connect to the broker: %w", clean.URLError(err))
	}
	s.connected = true
	return nil
}

func (*sink) Close() error   { return nil }
func (*sink) String() string { return "pubsub" }
