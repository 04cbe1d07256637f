package regcache

import (
	"maps"

	"go-micro.dev/v6/registry"
)

// A node is draining when its metadata says so in the word of the monitor's
// status: it serves what it has and gets no new calls.
const (
	StatusKey = "status"
	Draining  = "DRAINING"
)

// IsDraining reports whether the node wants no new calls.
func IsDraining(n *registry.Node) bool { return n.Metadata[StatusKey] == Draining }

// Drain returns a copy of the node that is marked as draining.
func Drain(n *registry.Node) *registry.Node {
	marked := *n
	marked.Metadata = make(map[string]string, len(n.Metadata)+1)
	maps.Copy(marked.Metadata, n.Metadata)
	marked.Metadata[StatusKey] = Draining
	return &marked
}
