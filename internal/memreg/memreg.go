// Package memreg is a go-micro registry in memory for tests, examples and
// whole platforms in one process. Unlike go-micro's own it copies records on
// the way in and out, publishes the expiry of a lease, takes new data for an id
// it knows, loses no event of a slow watcher and needs no goroutine.
package memreg

import (
	"sync"
	"time"

	"go-micro.dev/v6/registry"
)

// Registry implements registry.Registry. Make it with New.
type Registry struct {
	mu       sync.Mutex
	services map[string]map[string]*service // by name and version
	watchers map[*watcher]struct{}
	options  registry.Options
}

type service struct {
	record *registry.Service // without nodes
	nodes  map[string]*node
}

type node struct {
	*registry.Node
	lease *time.Timer // nil when the node never expires
}

// New returns an empty registry.
func New() *Registry {
	return &Registry{
		services: make(map[string]map[string]*service),
		watchers: make(map[*watcher]struct{}),
		options:  *registry.NewOptions(),
	}
}

// Init applies the options; none has an effect on a registry in memory.
func (r *Registry) Init(opts ...registry.Option) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range opts {
		o(&r.options)
	}
	return nil
}

// Options returns what Init was given.
func (r *Registry) Options() registry.Options {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.options
}

// String returns "memory".
func (r *Registry) String() string { return "memory" }

// Register adds or replaces the nodes of s and renews their leases. Watchers
// hear of it unless nothing but the lease changed.
func (r *Registry) Register(s *registry.Service, opts ...registry.RegisterOption) error {
	var o registry.RegisterOptions
	for _, opt := range opts {
		opt(&o)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	versions, known := r.services[s.Name]
	if !known {
		versions = make(map[string]*service)
		r.services[s.Name] = versions
	}
	held, known := versions[s.Version]
	if !known {
		held = &service{nodes: make(map[string]*node)}
		versions[s.Version] = held
	}
	held.record = Copy(s)
	held.record.Nodes = nil
	changed := !known
	for _, n := range s.Nodes {
		if r.put(s, held, n, o.TTL) {
			changed = true
		}
	}
	if changed {
		action := "update"
		if !known {
			action = "create"
		}
		r.publish(action, s)
	}
	return nil
}

// put stores one node and reports whether watchers should know.
func (r *Registry) put(s *registry.Service, held *service, n *registry.Node, ttl time.Duration) (changed bool) {
	old, known := held.nodes[n.Id]
	if known && old.lease != nil {
		old.lease.Stop()
	}
	fresh := &node{Node: copyNode(n)}
	held.nodes[n.Id] = fresh
	if ttl > 0 {
		name, version := s.Name, s.Version
		fresh.lease = time.AfterFunc(ttl, func() { r.expire(name, version, fresh) })
	}
	return !known || !sameNode(old.Node, n)
}

func (r *Registry) expire(name, version string, n *node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	held := r.services[name][version]
	if held == nil || held.nodes[n.Id] != n {
		return // renewed, replaced or deregistered meanwhile
	}
	gone := Copy(held.record)
	gone.Nodes = []*registry.Node{n.Node}
	r.remove(gone)
}

// Deregister removes the nodes of s; the last one takes its version along.
func (r *Registry) Deregister(s *registry.Service, _ ...registry.DeregisterOption) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(s)
	return nil
}

func (r *Registry) remove(s *registry.Service) {
	held := r.services[s.Name][s.Version]
	if held == nil {
		return
	}
	for _, n := range s.Nodes {
		if old := held.nodes[n.Id]; old != nil && old.lease != nil {
			old.lease.Stop()
		}
		delete(held.nodes, n.Id)
	}
	if len(held.nodes) == 0 {
		delete(r.services[s.Name], s.Version)
	}
	if len(r.services[s.Name]) == 0 {
		delete(r.services, s.Name)
	}
	r.publish("delete", s)
}

// GetService returns the versions of a service, or registry.ErrNotFound.
func (r *Registry) GetService(name string, _ ...registry.GetOption) ([]*registry.Service, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.services[name]) == 0 {
		return nil, registry.ErrNotFound
	}
	return r.appendVersions(nil, name), nil
}

// ListServices returns every version of every service with its nodes.
func (r *Registry) ListServices(...registry.ListOption) ([]*registry.Service, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*registry.Service
	for name := range r.services {
		all = r.appendVersions(all, name)
	}
	return all, nil
}

func (r *Registry) appendVersions(to []*registry.Service, name string) []*registry.Service {
	for _, held := range r.services[name] {
		s := Copy(held.record)
		for _, n := range held.nodes {
			s.Nodes = append(s.Nodes, copyNode(n.Node))
		}
		to = append(to, s)
	}
	return to
}
