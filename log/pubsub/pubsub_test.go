package pubsub_test

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/log/logtest"
	proto "github.com/micro/go-platform/log/proto"
	"github.com/micro/go-platform/log/pubsub"
	"go-micro.dev/v6/broker"
	pb "google.golang.org/protobuf/proto"
)

// listener keeps what is published on a topic.
type listener struct {
	mu     sync.Mutex
	events []*log.Event
}

func listen(t testing.TB, b broker.Broker, topic string) *listener {
	l := &listener{}
	if err := b.Connect(); err != nil {
		t.Fatal(err)
	}
	sub, err := b.Subscribe(topic, func(e broker.Event) error {
		m := new(proto.Event)
		if err := pb.Unmarshal(e.Message().Body, m); err != nil {
			t.Errorf("no Event: %v", err)
			return err
		}
		level, err := log.ParseLevel(m.Level)
		if err != nil || e.Message().Header["Content-Type"] != "application/protobuf" {
			t.Errorf("level %q, header %v", m.Level, e.Message().Header)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.events = append(l.events, &log.Event{Level: level, Fields: m.Fields, Timestamp: m.Timestamp, Message: m.Message})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(sub.Unsubscribe(), b.Disconnect()); err != nil {
			t.Error(err)
		}
	})
	return l
}

func (l *listener) read() []*log.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*log.Event(nil), l.events...)
}

func TestPubsub(t *testing.T) {
	logtest.RunOutput(t, func(t testing.TB) logtest.Fixture {
		b := broker.NewMemoryBroker()
		l := listen(t, b, pubsub.Topic)
		return logtest.Fixture{Output: pubsub.NewOutput(pubsub.Broker(b)), Read: l.read}
	})
}

// refusing is a broker that is down for its first connections and publications.
type refusing struct {
	broker.Broker
	mu    sync.Mutex
	left  int
	calls int
}

func (r *refusing) refuse() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if r.left--; r.left >= 0 {
		return errors.New("down")
	}
	return nil
}

func (r *refusing) Connect() error { return errors.Join(r.refuse(), r.Broker.Connect()) }

func (r *refusing) Publish(topic string, m *broker.Message, opts ...broker.PublishOption) error {
	if err := r.refuse(); err != nil {
		return err
	}
	return r.Broker.Publish(topic, m, opts...)
}

func TestBrokerComesBack(t *testing.T) {
	b := &refusing{Broker: broker.NewMemoryBroker(), left: 4}
	l := listen(t, b.Broker, "other")
	out := pubsub.NewOutput(pubsub.Broker(b), log.OutputName("other"), log.OutputInterval(5*time.Millisecond),
		log.OutputLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	for i := range 20 {
		if err := out.Send(&log.Event{Timestamp: int64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	logtest.Eventually(t, "all events", func() bool { return len(l.read()) >= 20 })
	if err := out.Close(); err != nil {
		t.Error(err)
	}
	for i, e := range l.read() {
		if e.Timestamp != int64(i) {
			t.Fatalf("event %d is %d", i, e.Timestamp)
		}
	}
}

func TestNilBroker(t *testing.T) {
	out := pubsub.NewOutput(pubsub.Broker(nil))
	err := out.(interface{ Start() error }).Start()
	if err == nil || !strings.Contains(err.Error(), "Broker") {
		t.Errorf("Start: %v", err)
	}
	if err := out.Close(); err != nil {
		t.Error(err)
	}
}
