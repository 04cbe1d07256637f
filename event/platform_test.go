package event_test

import (
	"context"
	"crypto/tls"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/event"
	eventsrv "github.com/micro/go-platform/event/internal/srv"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
)

// Everything works before event-srv is there, and over its restarts.
func TestBeforeEventSrv(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		net := rpctest.New(t)
		e := event.NewEvent(event.Client(net.Client(stack)), event.Logger(net.Logger))
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = e.Stop() }() // what it holds was asserted before
		if err := e.Publish(t.Context(), &event.Record{}); !errors.Is(err, event.ErrUnavailable) {
			t.Errorf("Publish without a log: %v", err)
		}
		done := make(chan error, 1)
		if err := e.PublishAsync(t.Context(), &event.Record{Type: "queued"}, func(_ *event.Record, err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan string, 10)
		over := make(chan error, 2)
		consume := func(opts ...event.ConsumeOption) {
			over <- e.Consume(ctx, func(_ context.Context, d *event.Delivery) error { got <- d.Type; return nil }, append(opts, event.FromBeginning())...)
		}
		go consume()
		go consume(event.Durable("early"))
		net.Boot(eventsrv.Service())
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("what was queued was never appended")
		}
		for range 2 {
			select {
			case <-got:
			case <-time.After(30 * time.Second):
				t.Fatal("a subscription did not find the log")
			}
		}
		cancel()
		for range 2 {
			if err := <-over; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	})
}

// What Stop cannot send is lost, and said to be.
func TestStopTellsWhatIsLost(t *testing.T) {
	net := rpctest.New(t)
	e := event.NewEvent(event.Client(net.Client(rpctest.GRPC)), event.Logger(net.Logger))
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 3)
	for range 3 {
		if err := e.PublishAsync(t.Context(), &event.Record{}, func(_ *event.Record, err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Stop(); !errors.Is(err, event.ErrLost) || !strings.HasPrefix(err.Error(), "event: lost 3 records: ") {
		t.Errorf("Stop with three records: %v", err)
	}
	for range 3 {
		if err := <-done; !errors.Is(err, event.ErrStopped) {
			t.Errorf("done: %v", err)
		}
	}
	if n := e.Dropped(); n != 3 {
		t.Errorf("%d dropped", n)
	}
}

// TestTLS: the registry leads to an event-srv that speaks TLS.
func TestTLS(t *testing.T) {
	running := rpctest.New(t).Boot(eventsrv.Service(), func(c *daemon.Config) {
		c.DatabaseURL = "sqlite://" + filepath.Join(t.TempDir(), "event.db")
	})
	rpctest.Handshakes(t, running.Address(), func(t *testing.T, addr string, c *tls.Config) error {
		elsewhere := rpctest.New(t)
		err := elsewhere.Registry.Register(&registry.Service{Name: event.ServiceName, Nodes: []*registry.Node{{Id: "front", Address: addr}}})
		if err != nil {
			return err
		}
		e := event.NewEvent(event.Client(elsewhere.Client(rpctest.RPC)), event.TLS(c), event.Logger(elsewhere.Logger))
		return errors.Join(e.Publish(t.Context(), &event.Record{}), e.Stop())
	})
}
