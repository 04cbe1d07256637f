// Package discovery finds the nodes of services: a go-micro registry with
// leases that heartbeats keep alive, a cache that survives whatever is behind
// it, and nodes that can drain. It runs on top of any registry, with
// go.micro.srv.discovery watching over the heartbeats, or standalone, with
// discovery-srv being the registry.
package discovery

import (
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/regcache"
	"github.com/micro/go-platform/internal/rpcerr"
)

// HeartbeatTopic carries heartbeats while go.micro.srv.discovery cannot be
// reached by RPC, WatchTopic what it sees change.
const (
	HeartbeatTopic = "micro.discovery.heartbeat"
	WatchTopic     = "micro.discovery.watch"
)

// ServiceName is the service that keeps leases.
const ServiceName = "go.micro.srv.discovery"

// The metadata of a node that discovery reads and writes: StatusKey is
// StatusDraining while a node wants no new calls; LeaseKey ties a node at
// another registry to its lease.
const (
	StatusKey      = regcache.StatusKey
	StatusDraining = regcache.Draining
	LeaseKey       = "lease"
)

var (
	// ErrNotFound is returned for a service that is not known; it is go-micro's.
	ErrNotFound = registry.ErrNotFound
	// ErrInvalid is returned for bad services and options.
	ErrInvalid = rpcerr.ErrInvalid
	// ErrForbidden is returned for a node whose lease another registrant holds.
	ErrForbidden = rpcerr.ErrForbidden
	// ErrLimited is returned when the registry has no room for a registration.
	ErrLimited = rpcerr.ErrLimited
	// ErrUnavailable is returned when the registry cannot be reached.
	ErrUnavailable = rpcerr.ErrUnavailable
	// ErrStopped is returned after Stop.
	ErrStopped = lifecycle.ErrStopped
)

// Discovery is a registry for go-micro's clients, servers and selectors. All
// methods are safe for concurrent use.
//
// The first call starts it. After Stop each returns an ErrStopped, but what is
// known can still be read.
//
// Register returns nil when the registry has the nodes. After any error but an
// ErrInvalid or ErrStopped the nodes are remembered all the same. Until Deregister
// or Stop each remembered node is registered and its lease renewed again and
// again, also at a registry that lost its memory. RegisterTTL has no effect: a
// lease is 5 intervals long, and a node that misses its heartbeats is gone in less
// than three. Nodes that nobody deregistered leave when their lease ends after
// Stop, as if the process had died.
//
// GetService reads a cache and returns a copy that the caller may change, except
// the request and response types of endpoints. For a service that the cache has
// it never waits: it returns what was last known, also when everything behind the
// cache is dead. It leaves out nodes that are draining, which Watch reports as
// deleted.
// ListServices asks the registry, and returns what is known when that does not
// answer.
//
// Watch streams changes from now on. Standalone it goes on after the connection
// was lost, with what was missed or with all there is; on top of a registry it
// is that registry's watcher.
type Discovery interface {
	registry.Registry
	// Snapshot returns the service without copying; warm it costs less than
	// 100 ns and allocates nothing. The README says what takes a node away.
	Snapshot(name string) (*Snapshot, error)
	// Drain marks these nodes of this process, all when none is named, so that
	// they get no new calls; they stay marked until they are deregistered.
	Drain(nodes ...string) error
	// Start begins to renew leases and to follow the registry. It is idempotent
	// and needs no server to be there. With a bad option it returns an ErrInvalid,
	// as does each call.
	Start() error
	// Stop ends all background work within two seconds, for good. It is
	// idempotent.
	Stop() error
}

// NewDiscovery returns the platform plugin. It does no I/O before Start or the
// first call.
func NewDiscovery(opts ...Option) Discovery { return newPlatform(opts) }
