package discovery

import (
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/regcache"
)

// Snapshot is a service at one moment. It and all it points to is immutable and
// shared by all readers: copy what you want to change.
type Snapshot struct {
	Name string
	// Services are the versions ordered by name, each with all its nodes
	// ordered by id, those that are draining too.
	Services []*registry.Service
	// Nodes are the nodes of all versions that are not draining; Owners[i] is
	// the version, one of Services, that Nodes[i] belongs to.
	Nodes  []*registry.Node
	Owners []*registry.Service
	// Revision differs between two snapshots of a Discovery exactly when their
	// content does, and rises.
	Revision uint64
}

// Draining reports whether any node is.
func (s *Snapshot) Draining() bool { return (*regcache.Snapshot)(s).Draining() }

// Open returns copies of the Services without the nodes that are draining. The
// caller may change them, but for the request and response types of endpoints.
func (s *Snapshot) Open() []*registry.Service { return (*regcache.Snapshot)(s).Open() }
