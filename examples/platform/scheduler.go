package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	stdsync "sync"
	"time"

	"github.com/google/uuid"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/server"
	mgrpc "go-micro.dev/v6/server/grpc"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/microlog"
	"github.com/micro/go-platform/kv"
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/memory"
)

// books are what the schedulers keep of the day: one item among the gateways'
// sessions, which only the leader writes.
type books struct {
	Orders int    `json:"orders"`
	Sum    uint64 `json:"sum"`    // of the orders' hashes: none twice, none left out
	Cursor uint64 `json:"cursor"` // the sequence of the last order's event
}

const (
	booksKey    = "books"
	settleEvery = 250 * time.Millisecond
)

func (b *books) add(id string, sequence uint64) {
	if sequence <= b.Cursor {
		return
	}
	b.Orders, b.Sum, b.Cursor = b.Orders+1, b.Sum+hashOf(id), sequence
}

func hashOf(id string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // a hash takes everything
	return h.Sum64()
}

// scheduler settles the orders while it leads: it enters those that came since
// into the books, with the fencing token of its seat.
type scheduler struct {
	*node
	shift  *shift
	gate   memory.Gate // shut: its process is paused
	sync   sync.Sync
	events event.Event
	ring   kv.KV // as a client of the gateways

	cancel context.CancelFunc
	done   chan struct{}
}

func newScheduler(name string) func(context.Context, *platform) (*node, error) {
	return func(ctx context.Context, p *platform) (*node, error) {
		n, err := newNode(ctx, p, schedulerName, "v1", name)
		if err != nil {
			return nil, err
		}
		s := &scheduler{node: n, shift: &p.shift, done: make(chan struct{})}
		// A server that never starts: this is no instance of the gateway.
		gateway := mgrpc.NewServer(server.Name(gatewayName), server.Id(uuid.NewString()),
			server.Registry(p.registry), server.Broker(p.broker), server.WithLogger(microlog.New(n.says)))
		s.ring = kv.NewKV(kv.Server(gateway), kv.Client(n.authed), kv.Namespace(ringNamespace), kv.Logger(n.says))
		s.events = event.NewEvent(event.Client(n.authed), event.Logger(n.says))
		self := &registry.Service{Name: schedulerName, Nodes: []*registry.Node{{Id: name}}}
		var end func() error
		if s.sync, end, err = p.locks.newSync(&s.gate, sync.Service(self), sync.Logger(n.says)); err != nil {
			return nil, err
		}
		n.leaves = append(n.leaves, s.stop, s.sync.Stop, end, s.events.Stop, s.ring.Stop)
		if err := errors.Join(s.ring.Start(), s.events.Start(), s.sync.Start()); err != nil {
			return nil, err
		}
		leader, err := s.sync.Leader("settlement", sync.LeaderTTL(p.locks.leaseTTL()))
		if err != nil {
			return nil, err
		}
		ctx, s.cancel = context.WithCancel(context.Background())
		go s.run(ctx, leader)
		return n, n.serve()
	}
}

func (s *scheduler) stop() error {
	s.cancel()
	<-s.done
	return nil
}

// run leads whenever it is its turn.
func (s *scheduler) run(ctx context.Context, leader sync.Leader) {
	defer close(s.done)
	for ctx.Err() == nil {
		seat, err := leader.Elect(sync.WithContext(ctx))
		if err == nil {
			err = errors.Join(s.lead(ctx, seat), seat.Resign())
		}
		if ctx.Err() == nil {
			s.log.Warnf("does not lead any more: %v", err)
		}
		lifecycle.Sleep(ctx, settleEvery)
	}
}

// lead settles until the seat is lost, in one way or another.
func (s *scheduler) lead(ctx context.Context, seat sync.Elected) error {
	b, err := s.read(ctx)
	if err != nil {
		return err
	}
	came := s.follow(ctx, b.Cursor)
	defer came.stop()
	for lifecycle.Sleep(ctx, settleEvery) {
		token, err := seat.Token() // looks at the clock, too
		if err != nil {
			return err
		}
		came.into(&b)
		s.shift.mayPause(ctx, s, token) // here a process may stop for any length of time
		err = s.write(ctx, b, token)
		s.shift.wrote(s.name, token, b.Orders, err)
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (s *scheduler) read(ctx context.Context) (b books, err error) {
	for {
		if b, err = readBooks(ctx, s.ring); !errors.Is(err, kv.ErrUnavailable) || !lifecycle.Sleep(ctx, settleEvery) {
			return b, err
		}
	}
}

func readBooks(ctx context.Context, ring kv.KV) (b books, err error) {
	item, err := ring.Get(booksKey, kv.WithContext(ctx))
	if errors.Is(err, kv.ErrNotFound) {
		return b, nil
	}
	if err != nil {
		return b, err
	}
	return b, json.Unmarshal(item.Value, &b)
}

// write tries until the books are written, or refused: one who does not know
// whether he has written can only try again.
func (s *scheduler) write(ctx context.Context, b books, token uint64) error {
	value, err := json.Marshal(b)
	if err != nil {
		return err
	}
	for {
		err := s.ring.Put(&kv.Item{Key: booksKey, Value: value}, kv.Fence(token), kv.WithContext(ctx))
		if !errors.Is(err, kv.ErrUnavailable) || !lifecycle.Sleep(ctx, settleEvery) {
			return err
		}
	}
}

// inbox is what a leader heard of and has not entered yet.
type inbox struct {
	mu     stdsync.Mutex
	orders []order
	stop   func()
}

type order struct {
	id       string
	sequence uint64
}

// follow collects the events of orders that come after the cursor.
func (s *scheduler) follow(ctx context.Context, cursor uint64) *inbox {
	in := &inbox{}
	ctx, cancel := context.WithCancel(ctx)
	var wg stdsync.WaitGroup
	wg.Go(func() {
		err := s.events.Consume(ctx, in.take, event.FromSequence(cursor+1), event.Types(db.EventType(db.DefaultDatabase, ordersTable, "*")))
		if ctx.Err() == nil {
			s.log.Errorf("orders are not heard of any more: %v", err)
		}
	})
	in.stop = func() { cancel(); wg.Wait() }
	return in
}

func (in *inbox) take(_ context.Context, d *event.Delivery) error {
	change, err := db.ParseChange(d.Data)
	if err != nil {
		return fmt.Errorf("record %d: %w", d.Sequence, err)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.orders = append(in.orders, order{change.Id, d.Sequence})
	return nil
}

func (in *inbox) into(b *books) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, o := range in.orders {
		b.add(o.id, o.sequence)
	}
	in.orders = nil
}
