package rpc

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"

	"github.com/micro/go-platform/internal/regcache"
	"github.com/micro/go-platform/internal/rpcerr"
)

// nodes is a client's own selector: any node at first, then those next to it, so
// that a call that is tried again meets another. It reads the registry's own
// snapshots where there are any, else a cache that starts with the first call;
// go-micro's selector would race with its watcher.
type nodes struct {
	opts  selector.Options
	read  *regcache.Cache
	cache *regcache.Cache // the same, nil: the registry has one
	begin sync.Once
}

func newNodes(r registry.Registry) *nodes {
	n := &nodes{opts: selector.Options{Registry: r}, read: regcache.Of(r)}
	if n.read == nil {
		n.cache = regcache.New(r)
		n.read = n.cache
	}
	return n
}

// Init takes a strategy. go-micro's client calls it with its registry; another
// than before is refused.
func (n *nodes) Init(opts ...selector.Option) error {
	o := n.opts
	for _, opt := range opts {
		opt(&o)
	}
	if o.Registry != n.opts.Registry {
		return fmt.Errorf("rpc client: option Registry: %w: it cannot be changed", rpcerr.ErrInvalid)
	}
	n.opts = o
	return nil
}

func (n *nodes) Options() selector.Options { return n.opts }

func (n *nodes) Select(name string, opts ...selector.SelectOption) (selector.Next, error) {
	n.begin.Do(n.start)
	s, err := n.read.Snapshot(name)
	switch {
	case errors.Is(err, registry.ErrNotFound), err == nil && len(s.Nodes) == 0:
		return nil, selector.ErrNotFound
	case err != nil:
		return nil, err
	}
	o := selector.SelectOptions{Strategy: n.opts.Strategy}
	for _, opt := range opts {
		opt(&o)
	}
	if o.Strategy == nil && len(o.Filters) == 0 {
		return inTurn(s.Nodes), nil
	}
	return chosen(s, o)
}

func (n *nodes) start() {
	if n.cache == nil {
		return
	}
	if err := n.cache.Start(); err != nil { // it asks the registry each time then
		slog.Warn("cannot remember nodes", "error", err)
	}
}

// inTurn begins anywhere.
func inTurn(all []*registry.Node) selector.Next {
	var at atomic.Uint64
	at.Store(rand.Uint64N(uint64(len(all))))
	return func() (*registry.Node, error) { return all[at.Add(1)%uint64(len(all))], nil }
}

// chosen lets a strategy and filters choose.
func chosen(s *regcache.Snapshot, o selector.SelectOptions) (selector.Next, error) {
	services := s.Open()
	for _, filter := range o.Filters {
		services = filter(services)
	}
	if len(services) == 0 {
		return nil, selector.ErrNoneAvailable
	}
	if o.Strategy == nil {
		o.Strategy = selector.Random
	}
	return o.Strategy(services), nil
}

func (n *nodes) Mark(string, *registry.Node, error) {}

func (n *nodes) Reset(string) {}

// Close ends the cache. Calls that come later ask the registry each time.
func (n *nodes) Close() error {
	n.begin.Do(func() {}) // or wait until it has started
	if n.cache == nil {
		return nil
	}
	return n.cache.Stop()
}

func (n *nodes) String() string { return "registry" }
