// Package sync serialises access to what many processes share: locks,
// semaphores, read-write locks and leader election, on a coordination server.
//
// The plugins are in sub packages: consul (the default), etcd, and memory for
// one process. What each promises under crash, pause and partition is in the
// README. A lock alone cannot keep a process that was paused from acting late:
// what must not be written twice checks the fencing token, see package fence.
package sync

import (
	"context"
	"errors"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/rpcerr"
)

// DefaultNamespace is the root of all keys. It is a variable for the sake of
// programs written for the original go-platform, and read when a plugin is made.
var DefaultNamespace = "/micro/sync"

// The errors that callers branch on, matched with errors.Is. Errors of a
// context pass unchanged.
var (
	// ErrLost is returned when the lock or the seat was held and is not any more,
	// and by a Stop that could not give back what was held.
	ErrLost = lifecycle.ErrLost
	// ErrNotHeld is returned when there is nothing to release or to use.
	ErrNotHeld = errors.New("not held")
	// ErrHeld is returned by Acquire and Elect of an object that holds or waits
	// already: make another one to contend with oneself.
	ErrHeld = errors.New("held or waiting already")
	// ErrNotFound is returned by Leader for an empty seat.
	ErrNotFound = rpcerr.ErrNotFound
	// ErrInvalid is wrapped in errors about arguments and options.
	ErrInvalid = rpcerr.ErrInvalid
	// ErrConflict is returned when contenders disagree on a lock's Slots.
	ErrConflict = rpcerr.ErrConflict
	// ErrUnavailable is returned when no server could be reached.
	ErrUnavailable = rpcerr.ErrUnavailable
	// ErrForbidden is returned when the server refuses the user.
	ErrForbidden = rpcerr.ErrForbidden
	// ErrStopped is returned after Stop, and by waits that Stop ended.
	ErrStopped = lifecycle.ErrStopped
)

// Sync makes locks and leaders. It is safe for concurrent use.
//
// Start checks the options and does no I/O. The first call that needs the server
// starts the plugin unless Start did. Bad options fail Start and each such call
// with an ErrInvalid. Stop releases everything that is held, within two seconds,
// and ends all waits. What it could not give back at the server stays held there
// until its lease ends: Stop returns an ErrLost that counts it and says how long.
// Start and Stop are idempotent; what was stopped does not start again.
type Sync interface {
	// Lock returns a lock on id. Nothing is asked of the server before Acquire.
	Lock(id string, opts ...LockOption) (Lock, error)
	// Leader returns the election for the seat id.
	Leader(id string, opts ...LeaderOption) (Leader, error)
	// Every runs f about every period on one of the processes that call it with
	// the same id, and returns when ctx ends. It is run at most once per period,
	// counted from the beginning of a run: one that was cut short by a crash or
	// a lost lease is not repeated before the next period. A run that takes
	// longer than the period delays the next.
	//
	// The context of f has the values of ctx and ends with it, and when the duty
	// is lost to another process; token is its fencing token. Within a process the
	// period is measured by the monotonic clock, between two processes by their
	// wall clocks: a clock that is wrong can make the first run after a change of
	// process early, or up to a period late.
	Every(ctx context.Context, id string, period time.Duration, f func(ctx context.Context, token uint64)) error
	Start() error
	Stop() error
	String() string
}

// Lock is one contender for a lock: acquire, use, release, as often as needed.
// Its methods are safe for concurrent use; two goroutines that exclude each
// other need a Lock each.
//
// Contenders get the lock in the order in which they asked. The holder's lease is
// renewed in the background. When that fails for the lock's TTL, or when
// somebody removed the holder's entry, the lock is lost.
type Lock interface {
	Id() string
	// Acquire waits for the lock until LockWait or the context of WithContext
	// ends: the error is then context.DeadlineExceeded or the context's own. A
	// server that cannot be reached is ErrUnavailable within five seconds, but
	// does not end a wait that has begun. One that gives up does not wait for the
	// server to hear of it.
	Acquire(opts ...CallOption) error
	// Release frees the lock if it is still owned, else it returns ErrLost, or
	// ErrNotHeld when it was not acquired. It never frees somebody else's. When
	// the server cannot be reached, or has not answered in two seconds, it is
	// ErrUnavailable: the lock is given up here at once, and there in the
	// background or at the end of the lease.
	Release(opts ...CallOption) error
	// Token returns the fencing token: the later an acquisition of this id, the
	// higher its token. It checks the lease by the monotonic clock: a process
	// that was paused for longer than the TTL gets ErrLost, before anything
	// in the background has run again. The error says why, if renewals failed.
	// ErrNotHeld without Acquire.
	Token() (uint64, error)
	// Lost returns a channel that is closed when what was acquired is lost, at
	// the latest a TTL after the server heard of it last, and not by Release.
	// Each acquisition has one of its own; without any it is nil.
	Lost() <-chan struct{}
	// Context returns a context that ends when the lock is lost or released;
	// its cause is ErrLost or ErrNotHeld. Without an acquisition it has ended.
	Context() context.Context
}

// Leader is one candidate for a seat, and an observer of it.
type Leader interface {
	Id() string
	// Leader returns the node that holds the seat, ErrNotFound if none does.
	Leader(opts ...CallOption) (*registry.Node, error)
	// Elect waits until this candidate holds the seat.
	Elect(opts ...CallOption) (Elected, error)
	// Status returns how far Elect came.
	Status() (LeaderStatus, error)
	// Observe sends the node that holds the seat, nil for an empty one, first
	// as it is and then at every change. A slow reader gets only the newest. The
	// channel is closed when the context of WithContext or Sync ends. Outages
	// of the server are waited out.
	Observe(opts ...CallOption) (<-chan *registry.Node, error)
}

// Elected is a seat that is held.
type Elected interface {
	// Revoked returns a channel that is closed when the seat is lost, as
	// Lock.Lost, and when it is resigned.
	Revoked() (chan struct{}, error)
	// Resign gives the seat up if it is still held, else it returns ErrLost,
	// or ErrNotHeld after a Resign.
	Resign() error
	// Token is the fencing token, as Lock.Token.
	Token() (uint64, error)
	// Context ends with the seat, as Lock.Context.
	Context() context.Context
}

// LeaderStatus is how far a candidate came.
type LeaderStatus int32

// The statuses of a candidate.
const (
	FollowerStatus  LeaderStatus = 0
	CandidateStatus LeaderStatus = 1
	ElectedStatus   LeaderStatus = 2
)

func (s LeaderStatus) String() string {
	switch s {
	case FollowerStatus:
		return "follower"
	case CandidateStatus:
		return "candidate"
	case ElectedStatus:
		return "elected"
	}
	return "unknown"
}
