package router

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"

	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/router/internal/balance"
)

// tickInterval is how often averages, verdicts and node lists are renewed.
const tickInterval = 100 * time.Millisecond

type life = lifecycle.Plugin

// platform is the Router of this package: a table of services that calls read
// without a lock, and the loops that keep it up to date.
type platform struct {
	*life
	begin    time.Time
	services atomic.Pointer[map[string]*service] // replaced, never changed
	measured atomic.Bool                         // a wrapper records calls: Mark need not time them
	group    lifecycle.Group

	option    client.CallOption // what ClientWrapper gives every call
	options   []client.CallOption
	retries   retries
	witnessed atomic.Bool // of a call of a grpc client it is known whether it was sent
	// recorders and marked are what option sets where a call has none.
	recorders []client.CallWrapper
	marked    context.Context
	unsent    unsent
	// strategy is go-micro's, nil unless the user has set one.
	strategy atomic.Pointer[selector.Strategy]

	mu        sync.Mutex // of all below, and of those who replace services
	selector  selector.Options
	opened    bool
	set       Options // these are written before calls read them
	balance   balance.Config
	remote    *remote // nil: standalone
	reporter  *reporter
	source    *source
	resolving chan struct{} // wakes the loop that looks for nodes of new services
}

func newPlatform(opts []selector.Option) *platform {
	p := &platform{begin: time.Now(), resolving: make(chan struct{}, 1)}
	p.life = lifecycle.NewPlugin("router", lifecycle.Hooks{Check: p.check, Open: p.open, Close: p.close})
	p.services.Store(&map[string]*service{})
	option.Apply(&p.selector, opts)
	p.option = p.callOption
	p.retries = retries{p.retry, p.retryIdempotent}
	p.options = []client.CallOption{p.option}
	p.recorders = []client.CallWrapper{p.record}
	p.marked = context.WithValue(context.Background(), routerKey{}, p)
	return p
}

// String implements Router.
func (p *platform) String() string { return "platform" }

// Options implements Router.
func (p *platform) Options() selector.Options {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.selector
}

// now is a monotonic clock in nanoseconds, for the pools.
func (p *platform) now() int64 { return int64(time.Since(p.begin)) + 2 }

// Init implements Router. Once started only the registry, the strategy of
// go-micro and its logger can be changed.
func (p *platform) Init(opts ...selector.Option) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh := p.selector
	option.Apply(&fresh, opts)
	if !p.opened {
		if err := newOptions(&fresh).Validate(); err != nil {
			return err
		}
		p.selector = fresh
		return nil
	}
	if fresh.Context != p.selector.Context {
		return fmt.Errorf("router: init: %w: options of the router cannot change once it is started", ErrInvalid)
	}
	before := p.selector
	p.selector = fresh
	p.strategy.Store(&fresh.Strategy)
	if fresh.Registry != before.Registry {
		return p.source.replace(fresh.Registry)
	}
	return nil
}

func (p *platform) check() error {
	o := p.Options()
	return newOptions(&o).Validate()
}

func (p *platform) open(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set = newOptions(&p.selector)
	p.balance = balance.Config{
		Strategy: balance.Strategy(p.set.Strategy), Zone: p.set.Zone, Decay: p.set.Decay,
		Consecutive: p.set.Failures, BaseEjection: p.set.Ejection, MaxEjection: p.set.MaxEjection,
		Now: p.now, Extra: func() any { return &nodeStats{} },
	}
	p.balance.Fill()
	p.strategy.Store(&p.selector.Strategy)
	if p.selector.Registry == nil {
		p.selector.Registry = registry.DefaultRegistry
	}
	p.source = &source{logger: p.set.Logger}
	if err := p.source.replace(p.selector.Registry); err != nil {
		return err
	}
	p.reporter = newReporter(p)
	loops := []func(context.Context){p.tick, p.sync, p.resolve, p.dial, p.reporter.loop}
	if !p.set.Standalone {
		p.remote = newRemote(p)
		p.remote.open()
		loops = append(loops, p.remote.watch)
	}
	p.opened = true
	return errors.Join(p.group.Start(loops...), p.reporter.start())
}

func (p *platform) close() error {
	err := p.group.Stop(lifecycle.FlushTimeout)
	lost := p.reporter.stop()
	err = errors.Join(err, p.source.close())
	if p.remote != nil {
		p.remote.close()
	}
	if err != nil {
		err = fmt.Errorf("router: stop: %w", err)
	}
	return errors.Join(err, lost)
}

// Close implements Router.
func (p *platform) Close() error { return p.Stop() }

// use begins each call: it starts the plugin, which does not block.
func (p *platform) use() error { return p.Use(context.Background()) }

// Dropped implements Router.
func (p *platform) Dropped() uint64 {
	p.mu.Lock()
	r := p.reporter
	p.mu.Unlock()
	if r == nil {
		return 0
	}
	return r.dropped()
}

// find returns a service in use, or nil.
func (p *platform) find(name string) *service { return (*p.services.Load())[name] }

// service returns the service for a call: warm without waiting, cold it asks
// the registry.
func (p *platform) service(name string) (*service, error) {
	if s := p.find(name); s != nil && p.Running() && s.pool.Known() {
		s.touch()
		return s, nil
	}
	return p.cold(name)
}

func (p *platform) cold(name string) (*service, error) {
	if err := p.use(); err != nil {
		return nil, err
	}
	snapshot, err := p.source.snapshot(name)
	if err != nil {
		if s := p.find(name); s != nil && s.pool.Known() { // router-srv knows it
			return s, nil
		}
		if errors.Is(err, registry.ErrNotFound) {
			return nil, ErrNotFound
		}
		return nil, fmt.Errorf("router: select a node of %s: %w", name, err)
	}
	s := p.follow(name)
	s.register(snapshot)
	if !s.pool.Known() {
		return nil, ErrNotFound
	}
	return s, nil
}

// follow returns the service of that name, which is followed from now on.
func (p *platform) follow(name string) *service {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := *p.services.Load()
	if s := known[name]; s != nil {
		s.touch()
		return s
	}
	s := newService(p, name)
	fresh := maps.Clone(known)
	for len(fresh) >= p.set.MaxServices {
		delete(fresh, idlest(fresh))
	}
	fresh[name] = s
	p.services.Store(&fresh)
	if p.remote != nil {
		p.remote.reopen()
	}
	return s
}

func idlest(services map[string]*service) (name string) {
	for n, s := range services {
		if name == "" || s.idle.Load() > services[name].idle.Load() {
			name = n
		}
	}
	return name
}

// idleTicks is after how many ticks without a call a service is no longer
// followed: an hour.
const idleTicks = int32(time.Hour / tickInterval)

// tick renews averages and verdicts.
func (p *platform) tick(ctx context.Context) {
	ready := &readiness{notReady: p.set.NotReady, log: p.set.Logger}
	lifecycle.Every(ctx, tickInterval, func() {
		if ready.notReady != nil {
			p.unready(ctx, ready)
		}
		for name, s := range *p.services.Load() {
			s.pool.Tick()
			if s.age() > idleTicks {
				p.drop(name)
			}
		}
	})
}

func (p *platform) drop(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh := maps.Clone(*p.services.Load())
	delete(fresh, name)
	p.services.Store(&fresh)
}

// sync takes over what became of the nodes of services that were found.
func (p *platform) sync(ctx context.Context) {
	lifecycle.Every(ctx, tickInterval, func() {
		for name, s := range *p.services.Load() {
			if s.registered.Load() {
				p.refresh(name, s)
			}
		}
	})
}

// resolve looks for those that only router-srv knows, which may take long.
func (p *platform) resolve(ctx context.Context) {
	lifecycle.Every(ctx, time.Second, func() {
		for name, s := range *p.services.Load() {
			if ctx.Err() == nil && !s.registered.Load() {
				p.refresh(name, s)
			}
		}
	})
}

func (p *platform) refresh(name string, s *service) {
	snapshot, err := p.source.snapshot(name)
	switch {
	case err == nil:
		s.register(snapshot)
	case errors.Is(err, registry.ErrNotFound):
		s.register(nil)
	}
	s.refresh()
}

// Reset implements Router.
func (p *platform) Reset(name string) {
	if s := p.find(name); s != nil {
		s.pool.Reset()
	}
}

// member finds the node of a service in use, or returns nil.
func (p *platform) member(name string, node *registry.Node) (*service, *balance.Member) {
	if node == nil || node.Id == "" {
		return nil, nil
	}
	s := p.find(name)
	if s == nil {
		return nil, nil
	}
	return s, s.pool.Find(node.Id)
}

// Mark implements Router.
func (p *platform) Mark(name string, node *registry.Node, err error) {
	if s, m := p.member(name, node); m != nil {
		s.pool.End(m, p.outcome(context.Background(), node, err), !p.measured.Load())
	}
}

// Record implements Router.
func (p *platform) Record(r Request, node *registry.Node, d time.Duration, err error) {
	if r == nil {
		return
	}
	s, m := p.member(r.Service(), node)
	if s == nil {
		if s = p.find(r.Service()); s == nil {
			return
		}
	}
	s.measure(r.Method(), m, d, err)
	if m == nil {
		return
	}
	if stream, ok := r.(interface{ Stream() bool }); ok && stream.Stream() {
		return
	}
	s.pool.Tell(m, p.outcome(context.Background(), node, err), d, p.now())
}
