package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go-micro.dev/v6/registry"

	pb "github.com/micro/go-platform/discovery/proto"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/regcache"
	"github.com/micro/go-platform/internal/rpcerr"
)

// underTimeout bounds what the registry below may take.
const underTimeout = 5 * time.Second

// keeper keeps the nodes of this process registered.
type keeper struct {
	opts  Options
	under registry.Registry // nil when discovery-srv is the registry
	lease *remote           // nil when nobody keeps leases
	poke  chan struct{}     // a registration failed: try again soon
	down  bool              // the last beat failed; of the loop

	mu      sync.Mutex // taken after that of an own
	nodes   map[ownKey]*own
	drained map[string]bool // by node id
	all     bool            // every node drains
}

type ownKey struct{ service, version, node string }

// own is a node of this process. Its mutex is held while the registry is told
// of it, so that words on one node stay in order.
type own struct {
	key ownKey

	busy chan struct{} // holds one token while the registry below is told

	mu      sync.Mutex
	service *registry.Service // with this node; replaced, never changed
	gone    bool
	beat    uint64
}

func newKeeper(o Options, under registry.Registry, lease *remote) *keeper {
	return &keeper{
		opts: o, under: under, lease: lease, poke: make(chan struct{}, 1),
		nodes: make(map[ownKey]*own), drained: make(map[string]bool),
	}
}

// count returns the next beat: later ones are higher, also across restarts
// unless the clock went back.
func (o *own) count() uint64 {
	o.beat = max(o.beat+1, uint64(time.Now().UnixNano()))
	return o.beat
}

// nameless reports whether the node is about to be registered for the first time.
func (o *own) nameless() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.service == nil
}

func check(s *registry.Service) error {
	switch {
	case s == nil:
		return fmt.Errorf("service: %w: missing", rpcerr.ErrInvalid)
	case s.Name == "":
		return fmt.Errorf("service.name: %w: empty", rpcerr.ErrInvalid)
	case len(s.Nodes) == 0:
		return fmt.Errorf("service.nodes: %w: none", rpcerr.ErrInvalid)
	}
	for _, n := range s.Nodes {
		if n == nil || n.Id == "" || n.Address == "" {
			return fmt.Errorf("service.nodes: %w: a node without id or address", rpcerr.ErrInvalid)
		}
	}
	return checkText(s)
}

// register remembers the nodes and registers them.
func (k *keeper) register(ctx context.Context, s *registry.Service) error {
	if err := check(s); err != nil {
		return fmt.Errorf("discovery: register: %w", err)
	}
	var errs []error
	for _, n := range s.Nodes {
		o, before := k.remember(s, n)
		err := k.tell(ctx, o)
		if errors.Is(err, rpcerr.ErrInvalid) {
			k.restore(o, before)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		k.hurry()
		return err
	}
	return nil
}

func (k *keeper) hurry() {
	select {
	case k.poke <- struct{}{}:
	default:
	}
}

// restore undoes a registration that was refused.
func (k *keeper) restore(o *own, before *registry.Service) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.service = before
	if before == nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.nodes, o.key)
	}
}

// remember makes n, copied and marked as it has to be, a node of this process.
// It returns what the node was before.
func (k *keeper) remember(s *registry.Service, n *registry.Node) (_ *own, before *registry.Service) {
	one := *s
	one.Nodes = []*registry.Node{n}
	one = *pb.FromService(&one).Registry() // a deep copy
	o := k.find(ownKey{s.Name, s.Version, n.Id})
	o.mu.Lock()
	defer o.mu.Unlock()
	if k.drains(n.Id) {
		one.Nodes[0] = regcache.Drain(one.Nodes[0])
	}
	if k.under != nil && k.lease != nil {
		if one.Nodes[0].Metadata == nil {
			one.Nodes[0].Metadata = make(map[string]string)
		}
		one.Nodes[0].Metadata[LeaseKey] = pb.Commitment(pb.Key(k.opts.Secret))
	}
	before, o.service = o.service, &one
	return o, before
}

func (k *keeper) find(key ownKey) *own {
	k.mu.Lock()
	defer k.mu.Unlock()
	o := k.nodes[key]
	if o == nil {
		o = &own{key: key, busy: make(chan struct{}, 1)}
		k.nodes[key] = o
	}
	return o
}

func (k *keeper) drains(node string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.all || k.drained[node]
}

// tell registers the node as it is now. On top of a registry only that one's
// answer counts: leases heal by themselves.
func (k *keeper) tell(ctx context.Context, o *own) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gone || o.service == nil {
		return nil
	}
	if k.under != nil {
		if err := k.tellUnder(ctx, o); err != nil {
			return err
		}
	}
	if k.lease == nil {
		return nil
	}
	err := k.lease.register(ctx, o.service, o.count())
	if err != nil && k.under != nil {
		k.hurry()
		return nil
	}
	return err
}

// tellUnder hands the registry a copy: some keep what they are given.
func (k *keeper) tellUnder(ctx context.Context, o *own) error {
	copied := pb.FromService(o.service).Registry()
	err := o.within(ctx, func() error {
		return k.under.Register(copied, registry.RegisterTTL(TTLIntervals*k.opts.Interval))
	})
	if err != nil {
		return fmt.Errorf("discovery: register %s: %w", o.key.node, err)
	}
	return nil
}

// within waits for f no longer than a registry may take, which has no context to
// be told by. The next call waits for the one before, so that words on one node
// stay in order and one goroutine is stuck at most.
func (o *own) within(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, underTimeout)
	defer cancel()
	select {
	case o.busy <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%w: it still has not answered", rpcerr.ErrUnavailable)
	}
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil { // of a user's registry
				done <- fmt.Errorf("%w: it panics: %s", rpcerr.ErrUnavailable, clean.Value(p, 1<<10))
			}
			<-o.busy
		}()
		done <- f()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: no answer within %v", rpcerr.ErrUnavailable, underTimeout)
	}
}

// deregister forgets the nodes and takes them out of the registry.
func (k *keeper) deregister(ctx context.Context, s *registry.Service) error {
	if err := check(s); err != nil && !(s != nil && s.Name != "" && len(s.Nodes) > 0) {
		return fmt.Errorf("discovery: deregister: %w", err)
	}
	var errs []error
	for _, n := range s.Nodes {
		if n == nil {
			continue
		}
		one := *s
		one.Nodes = []*registry.Node{n}
		errs = append(errs, k.end(ctx, &one))
	}
	return errors.Join(errs...)
}

func (k *keeper) end(ctx context.Context, s *registry.Service) error {
	key := ownKey{s.Name, s.Version, s.Nodes[0].Id}
	k.mu.Lock()
	o := k.nodes[key]
	delete(k.nodes, key)
	delete(k.drained, key.node)
	k.mu.Unlock()
	if o == nil { // not of this process: the registry's to judge
		o = &own{key: key, busy: make(chan struct{}, 1)}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gone = true
	var errs []error
	if k.under != nil {
		if err := o.within(ctx, func() error { return k.endUnder(s) }); err != nil {
			errs = append(errs, fmt.Errorf("discovery: deregister %s: %w", key.node, err))
		}
	}
	if k.lease != nil {
		err := k.lease.deregister(ctx, s, o.count())
		if k.under == nil {
			errs = append(errs, err)
		} // else the lease ends by itself
	}
	return errors.Join(errs...)
}

// endUnder takes the node out of the registry below. Some of those object to
// nodes that they do not know.
func (k *keeper) endUnder(s *registry.Service) error {
	err := k.under.Deregister(s)
	if err == nil {
		return nil
	}
	services, lookup := k.under.GetService(s.Name)
	known := lookup != nil && !errors.Is(lookup, registry.ErrNotFound)
	for _, v := range services {
		known = known || slices.ContainsFunc(v.Nodes, func(n *registry.Node) bool { return n.Id == s.Nodes[0].Id })
	}
	if !known {
		return nil
	}
	return err
}

// drain marks nodes and tells the registry.
func (k *keeper) drain(ctx context.Context, ids []string) error {
	var marked []*own
	k.mu.Lock()
	k.all = k.all || len(ids) == 0
	for _, id := range ids {
		k.drained[id] = true
	}
	for key, o := range k.nodes {
		if len(ids) == 0 || slices.Contains(ids, key.node) {
			marked = append(marked, o)
		}
	}
	k.mu.Unlock()
	var errs []error
	for _, o := range marked {
		o.mu.Lock()
		if o.service == nil { // about to be registered, marked
			o.mu.Unlock()
			continue
		}
		service := *o.service
		service.Nodes = []*registry.Node{regcache.Drain(service.Nodes[0])}
		o.service = &service
		o.mu.Unlock()
		errs = append(errs, k.tell(ctx, o))
	}
	if err := errors.Join(errs...); err != nil {
		k.hurry()
		return err
	}
	return nil
}
