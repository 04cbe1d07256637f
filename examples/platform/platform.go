package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go-micro.dev/v6/broker"
	"go-micro.dev/v6/registry"

	authsrv "github.com/micro/go-platform/auth/srv"
	configsrv "github.com/micro/go-platform/config/srv"
	dbsrv "github.com/micro/go-platform/db/srv"
	eventsrv "github.com/micro/go-platform/event/srv"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/membroker"
	"github.com/micro/go-platform/kv"
	monitorsrv "github.com/micro/go-platform/monitor/srv"
	routersrv "github.com/micro/go-platform/router/srv"
	tracesrv "github.com/micro/go-platform/trace/srv"
)

// platform is everything that runs.
type platform struct {
	registry  registry.Registry
	broker    broker.Broker
	daemons   []*daemon.Running
	nodes     []*node        // of the shop, that live
	graves    sync.WaitGroup // of those that were killed
	locks     *locks
	shift     shift           // of the schedulers
	stocks    []*stockHandler // stock-1 to stock-4
	collector collector
	customers *customers
	operator  *operator
	opened    atomic.Bool // then stock-3 begins to fail
	notifier  *notifier

	mu     sync.Mutex
	orders []string // that were stored

	dir   string // of the services' files and logs
	every time.Duration
	bound time.Duration
}

// start brings up the platform and the shop on free ports of the loopback
// interface.
func start(ctx context.Context, c settings) (_ *platform, err error) {
	p := &platform{every: c.every, bound: c.bound}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.stop(), p.stopDaemons())
		}
	}()
	if p.registry, err = daemon.NewRegistry(c.registry, c.registryAddress); err != nil {
		return nil, err
	}
	if _, err := p.registry.ListServices(); err != nil { // services would wait for it
		return nil, fmt.Errorf("registry %s: %w", c.registry, err)
	}
	if p.dir, err = os.MkdirTemp("", "go-platform-"); err != nil {
		return nil, err
	}
	if p.broker, err = membroker.New(); err != nil {
		return nil, err
	}
	if p.locks, err = newLocks(c); err != nil {
		return nil, err
	}
	if err := p.collector.listen(); err != nil {
		return nil, err
	}
	// auth-srv comes first: the others enrol there with the secret that it
	// leaves in the directory which they share.
	secret := rand.Text()
	if err := p.boot(ctx, authsrv.New(authsrv.Config{AdminSecret: secret, Announce: io.Discard, Issuer: "http://auth.shop"})); err != nil {
		return nil, err
	}
	if p.operator, err = newOperator(p, secret, c.registry != "memory"); err != nil {
		return nil, err
	}
	if err := p.operator.setRules(ctx); err != nil {
		return nil, err
	}
	for _, s := range []daemon.Bootable{tracesrv.New(), monitorsrv.New(), routersrv.New(), configsrv.New(), eventsrv.New(), dbsrv.New()} {
		if err := p.boot(ctx, s); err != nil {
			return nil, err
		}
	}
	if err := p.operator.prepare(ctx); err != nil {
		return nil, err
	}
	return p, p.openShop(ctx)
}

func (p *platform) boot(ctx context.Context, s daemon.Bootable) error {
	running, err := daemon.Start(ctx, s, daemon.Config{
		Registry: p.registry, Broker: p.broker, DataDir: p.dir, Logger: slog.New(slog.DiscardHandler),
	})
	if err == nil {
		p.daemons = append(p.daemons, running)
	}
	return err
}

// openShop starts the services from the stock up to the customers, so that
// nobody calls what is not there yet.
func (p *platform) openShop(ctx context.Context) error {
	for _, open := range []func(context.Context, *platform) (*node, error){
		stock("stock-1", "v1", time.Millisecond, 0), stock("stock-2", "v1", 100*time.Millisecond, 0), stock("stock-3", "v1", time.Millisecond, 5),
		stock("stock-4", "v2", time.Millisecond, 0),
		orders("orders-1", 0), orders("orders-2", 10),
		gateway("gateway-1"), gateway("gateway-2"), gateway("gateway-3"),
		newScheduler("scheduler-1"), newScheduler("scheduler-2"),
	} {
		if err := p.open(ctx, open); err != nil {
			return err
		}
	}
	var err error
	if p.notifier, err = newNotifier(ctx, p); err != nil {
		return err
	}
	if p.customers, err = newCustomers(ctx, p); err != nil {
		return err
	}
	if err := p.customers.knock(ctx); err != nil {
		return err
	}
	p.opened.Store(true)
	return nil
}

func (p *platform) open(ctx context.Context, open func(context.Context, *platform) (*node, error)) error {
	n, err := open(ctx, p)
	if err == nil {
		p.nodes = append(p.nodes, n)
	}
	return err
}

// kill ends the node as hard as can be, and returns how many calls it was at.
func (p *platform) kill(name string) (inFlight int64) {
	p.nodes = slices.DeleteFunc(p.nodes, func(n *node) bool {
		if n.name != name {
			return false
		}
		inFlight = n.shutdown.InFlight()
		n.kill(&p.graves)
		return true
	})
	return inFlight
}

// ring is the sessions' as one of the living gateways has it.
func (p *platform) ring() kv.KV {
	for _, n := range p.nodes {
		if n.ring != nil {
			return n.ring
		}
	}
	return nil
}

// stop ends the shop from the customers down, then what watches it.
func (p *platform) stop() error {
	var errs []error
	if p.customers != nil {
		errs = append(errs, p.customers.stop())
	}
	for i := len(p.nodes); i > 0; i-- {
		errs = append(errs, p.nodes[i-1].stop())
	}
	p.nodes = nil
	p.graves.Wait()
	return errors.Join(errs...)
}

// stored notes an order that db-srv acknowledged.
func (p *platform) stored(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.orders = append(p.orders, id)
}

func (p *platform) storedOrders() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.orders)
}

// stopDaemons ends what the report still asked after the shop was closed.
func (p *platform) stopDaemons() error {
	var errs []error
	if p.notifier != nil {
		errs = append(errs, p.notifier.stop())
	}
	if p.operator != nil {
		errs = append(errs, p.operator.stop())
	}
	for i := len(p.daemons); i > 0; i-- {
		errs = append(errs, p.daemons[i-1].Stop())
	}
	errs = append(errs, p.collector.close())
	if err := os.RemoveAll(p.dir); err != nil {
		errs = append(errs, fmt.Errorf("remove the files: %w", err))
	}
	return errors.Join(errs...)
}
