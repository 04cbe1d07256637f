package discovery

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/etcdreg"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/regcache"
)

// platform is the default plugin: own keeps this process's nodes registered,
// cache knows everybody's.
type platform struct {
	opts  options
	under registry.Registry // nil when discovery-srv is the registry
	lease *remote           // nil when nobody keeps leases
	own   *keeper
	cache *regcache.Cache
	group lifecycle.Group
	stop  func() error

	mu   sync.Mutex
	conf registry.Options // standalone: what Init was given
}

func newPlatform(opts []Option) *platform {
	p := &platform{opts: newOptions(opts)}
	p.conf = *registry.NewOptions(registry.Addrs(p.opts.addresses...))
	if len(p.opts.addresses) == 0 {
		p.under = etcdreg.Leased(p.opts.registry)
	}
	if p.under == nil || p.opts.enabled {
		p.lease = newRemote(p.opts)
	}
	source := regcache.Source(p.under)
	if p.under == nil {
		source = p.lease
	}
	p.cache = regcache.New(source, regcache.File(p.opts.file), regcache.Logger(p.opts.logger),
		regcache.Confirm(max(regcache.DefaultConfirm, 3*p.opts.interval)))
	p.own = newKeeper(p.opts, p.under, p.lease)
	p.stop = sync.OnceValue(p.shutdown)
	return p
}

// Start implements Discovery.
func (p *platform) Start() error {
	if err := p.opts.validate(); err != nil {
		return err
	}
	if err := p.group.Start(p.own.loop); err != nil {
		return fmt.Errorf("start discovery: %w", err)
	}
	return p.cache.Start()
}

// Stop implements Discovery.
func (p *platform) Stop() error { return p.stop() }

func (p *platform) shutdown() error {
	p.own.close()
	err := errors.Join(p.group.Stop(lifecycle.FlushTimeout), p.cache.Stop())
	if p.lease != nil {
		p.lease.held.Close()
	}
	if r, ok := p.under.(*etcdreg.Registry); ok && p.under != p.opts.registry {
		err = errors.Join(err, r.Stop())
	}
	if err != nil {
		return fmt.Errorf("stop discovery: %w", err)
	}
	return nil
}

// Init hands the options to the registry below.
func (p *platform) Init(opts ...registry.Option) error {
	if p.under != nil {
		return p.under.Init(opts...)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range opts {
		o(&p.conf)
	}
	return nil
}

// Options returns those of the registry below.
func (p *platform) Options() registry.Options {
	if p.under != nil {
		return p.under.Options()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conf
}

// String returns "platform".
func (p *platform) String() string { return "platform" }

// Register implements registry.Registry.
func (p *platform) Register(s *registry.Service, opts ...registry.RegisterOption) error {
	var o registry.RegisterOptions
	for _, opt := range opts {
		opt(&o)
	}
	if err := p.opts.validate(); err != nil {
		return err
	}
	return p.own.register(orBackground(o.Context), s)
}

// Deregister implements registry.Registry.
func (p *platform) Deregister(s *registry.Service, opts ...registry.DeregisterOption) error {
	var o registry.DeregisterOptions
	for _, opt := range opts {
		opt(&o)
	}
	return p.own.deregister(orBackground(o.Context), s)
}

// Drain implements Discovery.
func (p *platform) Drain(nodes ...string) error { return p.own.drain(context.Background(), nodes) }

// Snapshot implements Discovery.
func (p *platform) Snapshot(name string) (*Snapshot, error) {
	s, err := p.cache.Snapshot(name)
	return (*Snapshot)(s), err
}

// Cache is for regcache.Of: the router and clients of ours read what is here.
func (p *platform) Cache() *regcache.Cache { return p.cache }

// GetService implements registry.Registry.
func (p *platform) GetService(name string, opts ...registry.GetOption) ([]*registry.Service, error) {
	return p.cache.GetService(name, opts...)
}

// ListServices implements registry.Registry.
func (p *platform) ListServices(opts ...registry.ListOption) ([]*registry.Service, error) {
	return p.cache.ListServices(opts...)
}

// Watch implements registry.Registry.
func (p *platform) Watch(opts ...registry.WatchOption) (registry.Watcher, error) {
	var o registry.WatchOptions
	for _, opt := range opts {
		opt(&o)
	}
	if err := p.opts.validate(); err != nil {
		return nil, err
	}
	if p.under != nil {
		w, err := p.under.Watch(opts...)
		if err != nil {
			return nil, err
		}
		return &shutWatcher{Watcher: w}, nil
	}
	w, err := p.lease.watch(o.Service, &place{}, false)
	if err != nil {
		return nil, err
	}
	return &shutWatcher{Watcher: w}, nil
}
