package discovery

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/etcdreg"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/internal/regcache"
)

type life = lifecycle.Plugin

// platform is the default plugin: own keeps this process's nodes registered,
// cache knows everybody's.
type platform struct {
	*life
	opts  Options
	under registry.Registry // nil when discovery-srv is the registry
	lease *remote           // nil when nobody keeps leases
	own   *keeper
	cache *regcache.Cache
	group lifecycle.Group

	mu   sync.Mutex
	conf registry.Options // standalone: what Init was given
}

func newPlatform(options []Option) *platform {
	p := &platform{opts: NewOptions(options...)}
	p.life = lifecycle.NewPlugin("discovery", lifecycle.Hooks{Check: p.opts.Validate, Open: p.open, Close: p.close})
	p.conf = *registry.NewOptions(registry.Addrs(p.opts.Addresses...))
	if len(p.opts.Addresses) == 0 {
		p.under = etcdreg.Leased(p.opts.Registry)
	}
	if p.under == nil || p.opts.EnableDiscovery {
		p.lease = newRemote(p.opts)
	}
	source := regcache.Source(p.under)
	opts := []regcache.Option{regcache.File(p.opts.SnapshotFile), regcache.Logger(p.opts.Logger),
		regcache.Confirm(max(regcache.DefaultConfirm, 3*p.opts.Interval)), regcache.Beat(max(MinInterval, p.opts.Interval)), regcache.Before(p.use)}
	if p.under == nil {
		source, opts = p.lease, append(opts, regcache.Tells())
	}
	p.cache = regcache.New(source, opts...)
	p.own = newKeeper(p.opts, p.under, p.lease)
	return p
}

// use begins each call: it starts the plugin, which does not block.
func (p *platform) use() error { return p.Use(context.Background()) }

func (p *platform) open(context.Context) error {
	if err := p.group.Start(p.own.loop); err != nil {
		return err
	}
	return p.cache.Start()
}

func (p *platform) close() error {
	err := errors.Join(p.group.Stop(lifecycle.FlushTimeout), p.cache.Stop())
	if p.lease != nil {
		p.lease.held.Close()
	}
	if r, ok := p.under.(*etcdreg.Registry); ok && p.under != p.opts.Registry {
		err = errors.Join(err, r.Stop())
	}
	if err != nil {
		return fmt.Errorf("discovery: stop: %w", err)
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
	option.Apply(&p.conf, opts)
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
	option.Apply(&o, opts)
	if err := p.use(); err != nil {
		return err
	}
	err := p.own.register(orBackground(o.Context), s)
	if err == nil {
		p.cache.Expect(s.Name)
	}
	return err
}

// Deregister implements registry.Registry.
func (p *platform) Deregister(s *registry.Service, opts ...registry.DeregisterOption) error {
	var o registry.DeregisterOptions
	option.Apply(&o, opts)
	if err := p.use(); err != nil {
		return err
	}
	return p.own.deregister(orBackground(o.Context), s)
}

// Drain implements Discovery.
func (p *platform) Drain(nodes ...string) error {
	if err := p.use(); err != nil {
		return err
	}
	return p.own.drain(context.Background(), nodes)
}

// Snapshot implements Discovery.
func (p *platform) Snapshot(name string) (*Snapshot, error) {
	s, err := p.cache.Snapshot(name)
	if err != nil {
		return nil, p.told("get service "+name, err)
	}
	return (*Snapshot)(s), nil
}

// Cache is for regcache.Of: the router and clients of ours read what is here.
func (p *platform) Cache() *regcache.Cache { return p.cache }

// GetService implements registry.Registry.
func (p *platform) GetService(name string, opts ...registry.GetOption) ([]*registry.Service, error) {
	found, err := p.cache.GetService(name, opts...)
	return found, p.told("get service "+name, err)
}

// ListServices implements registry.Registry.
func (p *platform) ListServices(opts ...registry.ListOption) ([]*registry.Service, error) {
	all, err := p.cache.ListServices(opts...)
	return all, p.told("list services", err)
}

// told wraps an error of the registry below. Errors of this package pass
// unchanged, so that a caller may compare one with registry.ErrNotFound itself.
func (p *platform) told(doing string, err error) error {
	if err == nil || p.under == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrStopped) || errors.Is(err, ErrInvalid) {
		return err
	}
	return fmt.Errorf("discovery: %s: %w: %w", doing, ErrUnavailable, err)
}

// Watch implements registry.Registry.
func (p *platform) Watch(opts ...registry.WatchOption) (registry.Watcher, error) {
	var o registry.WatchOptions
	option.Apply(&o, opts)
	if err := p.use(); err != nil {
		return nil, err
	}
	if p.under != nil {
		w, err := p.under.Watch(opts...)
		if err != nil {
			return nil, fmt.Errorf("discovery: watch: %w", err)
		}
		return &shutWatcher{Watcher: w}, nil
	}
	w, err := p.lease.watch(o.Service, &place{}, false)
	if err != nil {
		return nil, err
	}
	return &shutWatcher{Watcher: w}, nil
}
