package memreg

import (
	"maps"

	"go-micro.dev/v6/registry"
)

// Copy returns a copy of s that shares nothing a caller might change.
// Endpoints, which nobody changes, are shared.
func Copy(s *registry.Service) *registry.Service {
	c := *s
	c.Metadata = maps.Clone(s.Metadata)
	c.Nodes = make([]*registry.Node, 0, len(s.Nodes))
	for _, n := range s.Nodes {
		c.Nodes = append(c.Nodes, copyNode(n))
	}
	return &c
}

func copyNode(n *registry.Node) *registry.Node {
	return &registry.Node{Id: n.Id, Address: n.Address, Metadata: maps.Clone(n.Metadata)}
}

func sameNode(a, b *registry.Node) bool {
	return a.Address == b.Address && maps.Equal(a.Metadata, b.Metadata)
}
