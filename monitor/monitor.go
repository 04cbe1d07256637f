// Package monitor tells how a service is: what its health checks say, whether
// it starts, runs, drains or has stopped, and how its calls went. A Monitor
// reports that to go.micro.srv.monitor, which keeps the history, judges
// services as a whole and tells callers which nodes are not ready.
package monitor

import (
	"errors"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/rpcerr"
)

// The topics that carry reports while go.micro.srv.monitor cannot be reached. They
// are variables for the sake of programs written for the original go-platform; do
// not change them.
var (
	HealthCheckTopic = "micro.monitor.healthcheck"
	StatusTopic      = "micro.monitor.status"
	StatsTopic       = "micro.monitor.stats"
)

// ServiceName is the service that the platform plugin reports to.
const ServiceName = "go.micro.srv.monitor"

var (
	// ErrAlreadyExists is returned by Register for an id that is taken.
	ErrAlreadyExists = rpcerr.ErrExists
	// ErrNotAvailable is returned for a check that is not registered, and by
	// the Status of a check that has not run yet.
	ErrNotAvailable = errors.New("not available")
	// ErrInvalid is returned for bad checks and options.
	ErrInvalid = rpcerr.ErrInvalid
	// ErrStopped is returned after Stop.
	ErrStopped = lifecycle.ErrStopped
	// ErrLost is matched by the error of a Stop that could not deliver all
	// reports.
	ErrLost = lifecycle.ErrLost
	// ErrTimeout is the error of a check that did not end before its deadline.
	ErrTimeout = errors.New("no result within the deadline")
)

// Monitor watches one service in one process. All methods are safe for
// concurrent use. None waits for the network but Stop, which takes two seconds
// at most.
//
// The first RecordStat, NotReady or Drain starts the monitor, as Start does.
// Register does not: startup checks are registered before the service is STARTED.
//
// The service is STARTED from Start on, RUNNING once every startup check has
// passed (at once when there is none), DRAINING from Drain on and STOPPED at
// Stop. Each of these transitions is reported at once and acknowledged; what
// could not be delivered is kept until it can be, and what Stop had to give up is
// counted in its error.
type Monitor interface {
	Checker
	Stats
	// Health returns the state of the service as it is known in the process.
	Health() Health
	// NotReady reports whether the node of this registry id is known to be not
	// ready for calls. It never waits. The first use begins to watch; what is
	// known ages out 15 s after the last word from go.micro.srv.monitor.
	NotReady(node string) bool
	// Drain announces that the service is about to stop: callers that use
	// ReadyFilter leave it within two seconds. It is idempotent; after Stop it
	// returns ErrStopped.
	Drain() error
	// Dropped returns how many transitions and windows of stats were lost, and how
	// many calls were recorded after Stop.
	Dropped() uint64
	// Start begins to check and report. It is idempotent and needs no server to be
	// there. An option with a bad value is an ErrInvalid, each time; after Stop it
	// returns ErrStopped.
	Start() error
	// Stop reports DRAINING and STOPPED, waits for running checks and ends all
	// background work within two seconds. It returns an ErrLost that says how many
	// reports did not arrive, joined with an error that names the checks that hang.
	// It is idempotent.
	Stop() error
	// String returns the name of the plugin.
	String() string
}

// Checker runs health checks at their intervals, from Start on. A check never
// overlaps itself: while a run hangs the check is in error and no other run
// begins, so that it costs one goroutine at most.
type Checker interface {
	// NewHealthChecker returns a check of this monitor that is not registered
	// yet. Bad options are reported by Register.
	NewHealthChecker(id, desc string, fn HealthCheck, opts ...CheckOption) HealthChecker
	// Register begins to run the check, a foreign one with the default options
	// around its Run. It returns ErrAlreadyExists for an id that is taken,
	// ErrInvalid for a bad check, and ErrStopped after Stop.
	Register(HealthChecker) error
	// Deregister ends it. It returns ErrNotAvailable when the id is not
	// registered and ErrStopped after Stop.
	Deregister(HealthChecker) error
	// HealthChecks returns the registered checks ordered by id.
	HealthChecks() ([]HealthChecker, error)
}

// HealthChecker is one check.
type HealthChecker interface {
	// Id is 1 to 128 printable characters, unique within the monitor.
	Id() string
	Description() string
	// Run runs the check now, or joins the run that is under way, and returns
	// its result. It waits no longer than the check's deadline: then the error
	// is ErrTimeout. A panic is an error.
	Run() (map[string]string, error)
	// Status returns the last result without running: ErrNotAvailable before
	// the first. The map is the caller's.
	Status() (map[string]string, error)
}

// HealthCheck looks at one thing. The results are shown to people: no secrets.
// At most 64 pairs and 8 KB are kept. An error means not healthy.
type HealthCheck func() (map[string]string, error)

// Stats measures calls.
type Stats interface {
	// RecordStat notes that a call took d and ended with err: a success, a drop
	// (408 or an exceeded deadline) or an error. A client.Request is a call of
	// another service, a server.Request one of this service whatever name it
	// carries. At most 256 endpoints are told apart (see MaxEndpoints), the
	// rest is one endpoint named Overflow.
	RecordStat(r Request, d time.Duration, err error)
}

// Request names what was called.
type Request interface {
	Service() string
	Method() string
}

// Dropper is a plugin that counts what it had to drop.
type Dropper interface {
	Dropped() uint64
}

// NewMonitor returns the platform plugin, which reports to
// go.micro.srv.monitor unless the option WithReporter says otherwise.
func NewMonitor(opts ...Option) Monitor { return newPlatform(opts) }
