// Package router chooses the node a call goes to and keeps calls going: it
// prefers fast and near nodes, leaves those that fail, divides calls among
// versions by rules and labels, limits them, and tries again what may be tried
// again. A Router is a go-micro selector; go.micro.srv.router, which sees what
// all callers measure, tells it of rules, weights, ejections and limits.
package router

import (
	"errors"
	"time"

	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"

	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/rpcerr"
)

// StatsTopic carries statistics while go.micro.srv.router cannot be reached,
// LabelPrefix begins the names of the metadata that are labels.
var (
	StatsTopic  = "platform.router.stats"
	LabelPrefix = "X-Micro-Label-"
)

// ServiceName is the service that the platform plugin follows.
const ServiceName = "go.micro.srv.router"

var (
	// ErrNotFound is returned by Select for a service nobody knows.
	ErrNotFound = selector.ErrNotFound
	// ErrNoneAvailable is returned when a service has no node for the call.
	ErrNoneAvailable = selector.ErrNoneAvailable
	// ErrLimited is what calls that a limit refuses end with, as a go-micro
	// error of code 429: match it with Limited.
	ErrLimited = rpcerr.ErrLimited
	// ErrInvalid is returned for options that cannot be.
	ErrInvalid = rpcerr.ErrInvalid
	// ErrStopped is returned after Stop.
	ErrStopped = lifecycle.ErrStopped
	// ErrLost is returned by a Stop that could not report all statistics.
	ErrLost = lifecycle.ErrLost
)

var errPanic = errors.New("panicked")

// Router is a go-micro selector that knows how its nodes are. All methods are
// safe for concurrent use. None waits for the network but the first Select of a
// service, which asks the registry, and Stop, which takes two seconds at most.
//
// Select applies the filters and the strategy of its options as go-micro's
// selector does, to the nodes that would get calls; without, it takes a few
// nanoseconds per call and allocates nothing that grows with the nodes. The
// Next it returns names a node that it did not name before as long as there is
// one. Nodes are shared and must not be changed.
//
// Mark ends the call to a node that Next named, as go-micro's client does. An
// error below 500 other than 408 is the caller's fault, not a failure of the
// node, 429 makes it less popular, a call that the caller cancelled means
// nothing. A nil or unknown node is ignored. Reset forgets what is known of a
// service's nodes but not the nodes.
//
// The first call of Select, Stats or Explain starts a router that was not
// started. After Stop they return an ErrStopped, the others do nothing.
type Router interface {
	selector.Selector
	// Stats returns what was measured in the last one to two intervals, by
	// service called.
	Stats() ([]*Stats, error)
	// Record notes that a call took d and ended with err. Use it for calls that
	// do not pass the wrappers, which record by themselves; Mark does not know
	// durations. A stream is not a measure of its node's speed.
	Record(r Request, node *registry.Node, d time.Duration, err error)
	// Explain returns where the calls of a service go and why, with the rules,
	// ejections, weights and zones behind it. It returns ErrNotFound for a
	// service that is not in use.
	Explain(service string, opts ...ExplainOption) (*Explanation, error)
	// Dropped returns how many windows of statistics were lost.
	Dropped() uint64
	// Start begins to follow go.micro.srv.router. It is idempotent and needs no
	// server to be there. With a bad option it returns an ErrInvalid, as
	// does each call.
	Start() error
	// Stop ends all background work within two seconds, for good, and sends the
	// last statistics: an ErrLost says how many were not acknowledged. It is
	// idempotent; Close is the same.
	Stop() error
}

// Request names what was called. One with a method Stream() bool that returns
// true is a stream.
type Request interface {
	Service() string
	Method() string
}

// Balance is how a node is chosen among those that may take a call, for the
// option Strategy.
type Balance string

// The strategies. See the README for what each is good for.
const (
	// PeakEWMA takes the better of two random nodes: the one with the lower
	// latency × calls in flight, latency being an average that jumps to peaks at
	// once and decays slowly. It is the default.
	PeakEWMA Balance = "peak-ewma"
	// LeastConnections takes the node with the fewest calls and streams in
	// flight.
	LeastConnections Balance = "least-connections"
	// RoundRobin takes one after the other.
	RoundRobin Balance = "round-robin"
	// Random takes any.
	Random Balance = "random"
)

// NewRouter returns the platform plugin. It does no I/O before Start or the
// first Select.
func NewRouter(opts ...selector.Option) Router { return newPlatform(opts) }
