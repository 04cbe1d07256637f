package nats_test

import (
	"fmt"
	"testing"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/eventtest"
	"github.com/micro/go-platform/event/nats"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func TestNATS(t *testing.T) {
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

func TestOverRestarts(t *testing.T) {
	server := backend.NATS(t)
	eventtest.RunRestart(t, func(*testing.T) eventtest.Open {
		return func(opts ...event.Option) event.Event {
			return nats.NewEvent(append([]event.Option{event.Servers(server.URL)}, opts...)...)
		}
	}, server.Kill, server.Restart)
}
