package regcache

import (
	"cmp"
	"maps"
	"reflect"
	"slices"

	"go-micro.dev/v6/registry"
)

// Snapshot is a service at one moment. It and all it points to is immutable and
// shared: copy what you want to change. Its fields are those of
// discovery.Snapshot, so that a pointer to one converts into one to the other.
type Snapshot struct {
	Name string
	// Services are the versions ordered by name, each with all its nodes
	// ordered by id, those that are draining too. Each has a node.
	Services []*registry.Service
	// Nodes are the nodes of all versions that are not draining; Owners[i] is
	// the version, one of Services, that Nodes[i] belongs to.
	Nodes  []*registry.Node
	Owners []*registry.Service
	// Revision differs between two snapshots of a cache exactly when their
	// content does, and rises.
	Revision uint64
}

// Draining reports whether any node is.
func (s *Snapshot) Draining() bool {
	total := 0
	for _, version := range s.Services {
		total += len(version.Nodes)
	}
	return len(s.Nodes) < total
}

// Open returns copies of the Services, which the caller may change as
// Cache.GetService says, without the nodes that are draining.
func (s *Snapshot) Open() []*registry.Service {
	if !s.Draining() {
		return clone(s.Services)
	}
	open := make([]*registry.Service, 0, len(s.Services))
	for _, version := range s.Services {
		if version = Open(version); len(version.Nodes) > 0 {
			open = append(open, version)
		}
	}
	return clone(open)
}

// newSnapshot orders the services and takes them over.
func newSnapshot(name string, revision uint64, services []*registry.Service) *Snapshot {
	s := &Snapshot{Name: name, Services: services, Revision: revision}
	slices.SortFunc(services, func(a, b *registry.Service) int { return cmp.Compare(a.Version, b.Version) })
	for _, version := range services {
		slices.SortFunc(version.Nodes, func(a, b *registry.Node) int { return cmp.Compare(a.Id, b.Id) })
		for _, n := range version.Nodes {
			if !IsDraining(n) {
				s.Nodes = append(s.Nodes, n)
				s.Owners = append(s.Owners, version)
			}
		}
	}
	return s
}

// Open returns s, or a copy of it without the nodes that are draining.
func Open(s *registry.Service) *registry.Service {
	if !slices.ContainsFunc(s.Nodes, IsDraining) {
		return s
	}
	open := *s
	open.Nodes = slices.DeleteFunc(slices.Clone(s.Nodes), IsDraining)
	return &open
}

func same(a, b []*registry.Service) bool { return reflect.DeepEqual(a, b) }

// clone copies services, in few allocations. The types of endpoints, which
// nobody changes, are shared.
func clone(services []*registry.Service) []*registry.Service {
	slab := make([]registry.Service, len(services))
	copies := make([]*registry.Service, len(services))
	for i, s := range services {
		slab[i] = *s
		slab[i].Metadata = maps.Clone(s.Metadata)
		slab[i].Nodes = cloneNodes(s.Nodes)
		slab[i].Endpoints = cloneEndpoints(s.Endpoints)
		copies[i] = &slab[i]
	}
	return copies
}

func cloneNodes(nodes []*registry.Node) []*registry.Node {
	slab := make([]registry.Node, len(nodes))
	copies := make([]*registry.Node, len(nodes))
	for i, n := range nodes {
		slab[i] = registry.Node{Id: n.Id, Address: n.Address, Metadata: maps.Clone(n.Metadata)}
		copies[i] = &slab[i]
	}
	return copies
}

func cloneEndpoints(endpoints []*registry.Endpoint) []*registry.Endpoint {
	if endpoints == nil {
		return nil
	}
	slab := make([]registry.Endpoint, len(endpoints))
	copies := make([]*registry.Endpoint, len(endpoints))
	for i, e := range endpoints {
		copies[i] = &slab[i]
		if e == nil {
			continue
		}
		slab[i] = registry.Endpoint{
			Name: e.Name, Metadata: maps.Clone(e.Metadata),
			Request: e.Request, Response: e.Response,
		}
	}
	return copies
}
