package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/internal/rpc"
)

// notifier tells buyers that their order was stored. It learns of orders by the
// events of their table, and goes on where it was after it was killed.
type notifier struct {
	plain *rpc.Client
	auth  auth.Auth

	mu     sync.Mutex
	told   map[string]int // deliveries by order
	events event.Event
	cancel context.CancelFunc
	done   chan struct{}
}

func newNotifier(ctx context.Context, p *platform) (*notifier, error) {
	n := &notifier{told: map[string]int{}}
	n.plain = rpc.NewClient(rpc.Config{Registry: p.registry, Broker: p.broker})
	var err error
	if n.auth, err = p.operator.member(ctx, "shop.notifier", n.plain, slog.Default(), "shop"); err != nil {
		return nil, err
	}
	return n, n.begin()
}

// begin joins the durable subscription.
func (n *notifier) begin() error {
	n.events = event.NewEvent(event.Client(auth.ClientWrapper(n.auth)(n.plain)))
	if err := n.events.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel, n.done = cancel, make(chan struct{})
	go func() {
		defer close(n.done)
		_ = n.events.Consume(ctx, n.tell, event.Durable("notifier"), event.FromBeginning(),
			event.Types(db.EventType(db.DefaultDatabase, ordersTable, "*")), event.AckWait(time.Second)) // ends with ctx
	}()
	return nil
}

func (n *notifier) tell(ctx context.Context, d *event.Delivery) error {
	change, err := db.ParseChange(d.Data)
	if err != nil {
		return event.Reject(err)
	}
	if err := ctx.Err(); err != nil { // killed before it told anybody
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told[change.Id]++
	return nil
}

// kill ends it in the middle of its work.
func (n *notifier) kill() error {
	n.cancel()
	<-n.done
	return n.events.Stop()
}

// missing returns how many of the orders nobody was told of, waiting for those
// that are on their way.
func (n *notifier) missing(orders []string) int {
	for deadline := time.Now().Add(closing); ; time.Sleep(20 * time.Millisecond) {
		missing := 0
		n.mu.Lock()
		for _, id := range orders {
			if n.told[id] == 0 {
				missing++
			}
		}
		n.mu.Unlock()
		if missing == 0 || time.Now().After(deadline) {
			return missing
		}
	}
}

// orders returns how many orders there were events of, and the sum of their
// hashes.
func (n *notifier) orders() (count int, sum uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id := range n.told {
		sum += hashOf(id)
	}
	return len(n.told), sum
}

func (n *notifier) stop() error {
	err := errors.Join(n.kill(), n.auth.Stop())
	n.plain.Close()
	return err
}
