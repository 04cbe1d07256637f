// Package queue makes locks and elections out of a store with leases: every
// contender puts an entry into the queue of its lock, bound to a lease that its
// process renews, and has the lock while nobody it excludes is ahead of it.
// The order of entries is the order in which the store took them, which also
// makes the fencing token.
//
// It is the recipe of P. Hunt et al., "ZooKeeper: Wait-free coordination for
// Internet-scale systems", USENIX ATC 2010, section 2.4, as etcd's concurrency
// package has it too. The plugins of sync are stores.
package queue

import (
	"context"
	"errors"
	"time"
)

// ErrGone is returned by a Store for a lease that has ended, ErrExists for an
// entry that is there already.
var (
	ErrGone   = errors.New("lease has ended")
	ErrExists = errors.New("entry exists")
)

// Store is what a coordination server has to offer. Errors are ErrGone, those
// of ctx, and any other for a server that did not do what it was asked; whether
// it did is then unknown. All methods are safe for concurrent use, and reads
// are linearizable.
type Store interface {
	// Grant begins a lease. It ends when it was not renewed for ttl, by the
	// clock of the server, and never earlier; granted is the ttl that the
	// server took instead, if it has bounds.
	Grant(ctx context.Context, ttl time.Duration) (lease string, granted time.Duration, err error)
	Renew(ctx context.Context, lease string) error
	// Revoke ends a lease and removes its entries.
	Revoke(ctx context.Context, lease string) error

	// Watch returns nil when the lease may have ended, or may have other entries
	// than those that were made and not left, as in a server that was restored
	// from a backup: as soon as the store hears of it, or now and then.
	Watch(ctx context.Context, lease string) error
	// Bound returns the entries that a lease has. It may be dear.
	Bound(ctx context.Context, lease string) ([]Ref, error)

	// Enter adds an entry to the end of a queue, bound to a lease. It returns
	// the queue up to and with it, or ErrExists.
	Enter(ctx context.Context, lease, queue, name string, value []byte) (Queue, error)
	// Leave removes an entry. An entry that is not there is not an error.
	Leave(ctx context.Context, entry Ref) error
	// List returns the whole queue.
	List(ctx context.Context, queue string) (Queue, error)
	// Wait returns when something may have changed since from was read: when
	// the entry is gone, also when another one has its name since, or, if the
	// entry has no name, at any change of its queue.
	Wait(ctx context.Context, entry Ref, from Queue) error
	// Missing returns those of the lease's entries that are not there any more.
	Missing(ctx context.Context, lease string, entries []Ref) ([]Ref, error)

	// Load returns what Save left under key, nil if nothing.
	Load(ctx context.Context, key string) ([]byte, error)
	// Save writes if the lease's entry is still there, else it returns ErrGone.
	Save(ctx context.Context, key string, value []byte, lease string, holder Ref) error

	// Forbidden reports whether an error of the store is a refusal of the user.
	Forbidden(err error) bool
	Close() error
	String() string
}

// Ref is an entry. A name is used again when its entry is gone and nothing that
// was asked about it can be on its way: a store that keeps what was deleted for a
// while, as etcd does until it compacts, would else get slower with every
// acquisition. The Order tells such entries apart.
type Ref struct {
	Queue, Name string
	Order       uint64 // 0 if not known
}

// Entry is one contender.
type Entry struct {
	Name  string
	Order uint64 // rises with every entry of its queue
	Value []byte
}

// Queue is a queue as it was at a revision of the store.
type Queue struct {
	Entries  []Entry // in order
	Revision uint64
}

// split returns what is ahead of the entry name, and the entry.
func (q Queue) split(name string) (ahead []Entry, me Entry, ok bool) {
	for i, e := range q.Entries {
		if e.Name == name {
			return q.Entries[:i], e, true
		}
	}
	return nil, Entry{}, false
}
