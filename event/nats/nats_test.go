package nats_test

import (
	"fmt"
	"testing"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/eventtest"
	"github.com/micro/go-platform/event/nats"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func TestNATS(t *testing.T) {
	t.Parallel() // it waits, and has a server of its own
	server := backend.NATS(t)
	n := 0
	eventtest.Run(t, func(*testing.T) eventtest.Open {
		n++
		stream := fmt.Sprint("log", n)
		return func(opts ...event.Option) event.Event {
			return nats.NewEvent(append([]event.Option{event.Servers(server.URL), event.Stream(stream)}, opts...)...)
		}
	})
}

// purge is retention: it removes everything up to a sequence.
func purge(t *testing.T, url, stream string, upTo uint64) {
	t.Helper()
	s, err := js(t, url).Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context(), jetstream.WithPurgeSequence(upTo+1)); err != nil {
		t.Fatal(err)
	}
}

func js(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	nc, err := natsgo.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func TestRetention(t *testing.T) {
	t.Parallel() // it waits, and has a server of its own
	server := backend.NATS(t)
	n := 0
	eventtest.RunRetention(t, func(*testing.T) (eventtest.Open, eventtest.Expire) {
		n++
		stream := fmt.Sprint("log", n)
		return func(opts ...event.Option) event.Event {
				return nats.NewEvent(append([]event.Option{event.Servers(server.URL), event.Stream(stream)}, opts...)...)
			}, func(t *testing.T, last *event.Record) {
				purge(t, server.URL, stream, last.Sequence)
			}
	})
}

func TestOverRestarts(t *testing.T) {
	t.Parallel() // it waits, and has a server of its own
	server := backend.NATS(t)
	eventtest.RunRestart(t, func(*testing.T) eventtest.Open {
		return func(opts ...event.Option) event.Event {
			return nats.NewEvent(append([]event.Option{event.Servers(server.URL)}, opts...)...)
		}
	}, server.Kill, server.Restart)
}
