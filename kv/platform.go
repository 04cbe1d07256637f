package kv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go-micro.dev/v6/broker"
	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/kv/internal/lru"
	pb "github.com/micro/go-platform/kv/proto"
)

// life hides the embedded lifecycle.Plugin from the documentation.
type life = lifecycle.Plugin

// platform keeps items in the memory of the instances of a service.
type platform struct {
	*life
	options Options
	records *records
	members *members
	flights flights
	group   lifecycle.Group
	calls   sync.WaitGroup  // to other members, under way
	ctx     context.Context // of probes
	cancel  context.CancelFunc
	linkAge time.Duration
	missed  missed

	retention time.Duration // of what was deleted

	client    client.Client
	service   pb.KVService
	release   func()
	own       server.Server // where the user's does not speak grpc
	name      string        // under which members are registered
	registry  registry.Registry
	broker    broker.Broker
	announced broker.Subscriber // nil while the broker cannot be reached
	deaf      bool              // which was logged

	// installing keeps operations of one view from those of the next: see do.
	installing sync.RWMutex
	view       atomic.Pointer[view] // nil before open and after Stop
	lease      atomic.Pointer[lease]
	changed    chan struct{} // a token: the view is another, or a member synced
	discover   chan struct{} // a token: somebody may have come
	probeNow   chan struct{} // a token
	unlink     chan struct{} // closed: links of others end

	views  sync.Mutex // held by install
	ended  bool       // guarded by views
	mu     sync.Mutex
	peers  map[node]*peer
	asked  map[string]bool // addresses with a probe under way
	closed bool
}

// NewKV returns the default plugin: the instances of the service that Server is
// one of keep the items in their memory, each on Replicas of them.
//
// They find each other in the registry. Where the server speaks grpc it also
// serves the members, else they get a grpc server of their own, registered as
// the service's name with ".kv". Start, or the first call, looks for other members
// for at most the time of Suspicion. It does not wait for the server: until the
// server has registered, the plugin is a client of the other members, or keeps the
// items itself if there are none.
//
// Call Stop before the Stop of the server. It hands the items over to the other
// members within two seconds. It returns an ErrLost that counts the items that no
// other member has by then.
func NewKV(opts ...Option) KV {
	o := NewOptions(opts...)
	p := &platform{
		options:  o,
		linkAge:  defaultLinkAge,
		records:  &records{cache: lru.New[*record](max(1, o.MaxBytes)), began: time.Now(), writer: rand.Uint64()},
		flights:  flights{by: make(map[string]*flight)},
		changed:  make(chan struct{}, 1),
		discover: make(chan struct{}, 1),
		probeNow: make(chan struct{}, 1),
		unlink:   make(chan struct{}),
		peers:    make(map[node]*peer),
		asked:    make(map[string]bool),
		missed:   missed{by: make(map[gap]repeat)},

		retention: max(time.Minute, 6*o.Suspicion, 2*o.Timeout),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.life = lifecycle.NewPlugin("kv", lifecycle.Hooks{Check: o.Validate, Open: p.open, Close: p.shut})
	return p
}

func (p *platform) String() string { return "platform" }

// open finds the other members and starts the loops.
func (p *platform) open(ctx context.Context) error {
	p.client, p.release = rpc.Acquire(p.options.Client, p.options.TLS)
	s := p.options.Server
	if s == nil {
		s = server.DefaultServer
	}
	o := s.Options()
	p.name, p.registry = o.Name, o.Registry
	if s.String() != "grpc" {
		p.name += ".kv"
	}
	p.service = pb.NewKVService(p.name, p.client)
	p.members = &members{
		self: node{id: p.name + "-" + o.Id, incarnation: uint64(time.Now().UnixMicro())},
		all:  make(map[string]*member), suspicion: p.options.Suspicion,
	}
	if err := p.serve(s); err != nil { // calls may come from here on
		p.release()
		return fmt.Errorf("kv: serve members: %w", err)
	}
	p.find(ctx)
	p.install()
	p.broker = o.Broker
	if p.options.Client != nil {
		p.broker = p.options.Client.Options().Broker
	}
	p.listen()
	return p.group.Start(p.watch, p.probe, p.handOver, p.reap, p.repeat)
}

// shut hands the items over and ends the loops.
func (p *platform) shut() error {
	err := p.leave()
	p.end()
	err = errors.Join(err, p.group.Stop(lifecycle.FlushTimeout))
	if p.announced != nil { // by the loops, too
		err = errors.Join(err, p.announced.Unsubscribe())
	}
	p.mu.Lock()
	p.closed = true
	peers := slices.Collect(maps.Values(p.peers))
	p.mu.Unlock()
	for _, to := range peers {
		to.close(errStopped)
	}
	close(p.unlink)
	p.cancel()
	p.calls.Wait() // nothing of it goes on without these
	if p.own != nil {
		err = errors.Join(err, p.own.Stop())
	}
	p.release()
	p.records.cache.Clear()
	return err
}

var errStopped = fmt.Errorf("kv: %w", ErrStopped)

// use returns the view for a call. The first call opens the plugin.
func (p *platform) use(ctx context.Context) (*view, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if v := p.view.Load(); v != nil {
		return v, nil
	}
	if err := p.Use(ctx); err != nil {
		return nil, err
	}
	if v := p.view.Load(); v != nil {
		return v, nil
	}
	return nil, errStopped
}

// end makes it answer nobody any more.
func (p *platform) end() {
	p.views.Lock()
	defer p.views.Unlock()
	p.installing.Lock()
	defer p.installing.Unlock()
	p.ended = true
	p.view.Store(nil)
}

// digest is that of the view, 0 for none.
func (p *platform) digest() uint64 {
	if v := p.view.Load(); v != nil {
		return v.digest
	}
	return 0
}

// leave tells the others, and waits until they have what was here.
func (p *platform) leave() error {
	if p.members.others() == 0 {
		return nil
	}
	p.members.mu.Lock()
	p.members.leaving = true
	p.members.mu.Unlock()
	p.install()
	poke(p.probeNow)
	synced := false
	for end := time.Now().Add(lifecycle.FlushTimeout); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		v := p.view.Load()
		synced = v != nil && p.members.state().synced == v.digest
		if v == nil || synced && p.members.allSettled(v) {
			return nil
		}
	}
	if synced {
		return nil // they will notice
	}
	return lifecycle.Lost("kv", p.alone(), "item", fmt.Sprintf("not handed over in %v", lifecycle.FlushTimeout))
}

// alone counts the items that no other member had when this one began to leave.
func (p *platform) alone() (n int) {
	v := p.view.Load()
	if v == nil {
		return 0
	}
	now := p.records.now()
	p.records.cache.Range(func(key string, r *record) (drop, more bool) {
		if !r.over(now) && !v.shared(slotOf(key)) {
			n++
		}
		return false, true
	})
	return n
}

// Dropped returns how many items were evicted here for want of room.
func (p *platform) Dropped() uint64 {
	_, _, evicted := p.records.cache.Stats()
	return evicted
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// spawn runs f in the background, unless the plugin was stopped. Stop waits.
func (p *platform) spawn(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.calls.Go(f)
	}
	return !p.closed
}
