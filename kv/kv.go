// Package kv keeps small values by key, for many processes: sessions, caches,
// counters, shared bits of state that should outlive one of them.
//
// NewKV returns the default plugin: the instances of a service keep the values
// in their memory, each on several of them. The plugins in sub packages keep
// them in Redis, memcached, etcd or Consul, and memory keeps them in one
// process. What each promises is in the README.
package kv

import (
	"errors"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/sync/fence"
)

// Limits that hold for every plugin, so that one can be changed for another.
const (
	MaxKey   = 1024    // bytes
	MaxValue = 384_000 // bytes; Consul takes no more
	MaxTTL   = 10 * 365 * 24 * time.Hour
	MaxMany  = 1000 // keys of one GetMany
)

// The errors that callers branch on, matched with errors.Is. Errors of a
// context pass unchanged.
var (
	// ErrNotFound is returned for a key that is not there or has expired.
	ErrNotFound = rpcerr.ErrNotFound
	// ErrExists is returned by Add for a key that is there.
	ErrExists = rpcerr.ErrExists
	// ErrConflict is returned by CompareAndSwap when the value is another.
	ErrConflict = rpcerr.ErrConflict
	// ErrInvalid is wrapped in errors about arguments and options.
	ErrInvalid = rpcerr.ErrInvalid
	// ErrUnavailable is returned when no server, or not enough members, could be
	// reached. A write that ends so may have been done.
	ErrUnavailable = rpcerr.ErrUnavailable
	// ErrStale is returned to a Put or Del with a fencing token below one that
	// was seen for the key.
	ErrStale = fence.ErrStale
	// ErrUnsupported is returned for a fencing token by plugins that cannot
	// check it.
	ErrUnsupported = errors.New("not supported")
	// ErrForbidden is returned when the server refuses the user.
	ErrForbidden = rpcerr.ErrForbidden
	// ErrStopped is returned after Stop.
	ErrStopped = lifecycle.ErrStopped
	// ErrLost is returned by Stop when items that no other member has could not
	// be handed over. The text counts them.
	ErrLost = lifecycle.ErrLost
)

// KV keeps items by key. It is safe for concurrent use.
//
// Keys are any 1 to MaxKey bytes, values up to MaxValue bytes, nil and empty
// alike. What callers pass and get is theirs: nothing is shared. Without
// WithContext a call is bounded by the plugin's Timeout.
//
// The first call starts the plugin unless Start did. Bad options fail Start and
// each call with an ErrInvalid. Start and Stop are idempotent; what was stopped
// does not start again, and its calls return ErrStopped.
type KV interface {
	// Get returns the item or ErrNotFound. Its Expiration is the time left, 0
	// if it does not expire.
	Get(key string, opts ...CallOption) (*Item, error)
	// Del removes the item. A key that is not there is not an error.
	Del(key string, opts ...CallOption) error
	// Put adds or replaces the item, its expiration too.
	Put(item *Item, opts ...CallOption) error
	Start() error
	Stop() error
	String() string
}

// Item is a value and its key.
type Item struct {
	Key   string
	Value []byte
	// Expiration is how long the item lives from Put on, 0 for ever; at least a
	// millisecond and at most MaxTTL, in whole milliseconds (rounded up).
	Expiration time.Duration
}

// Adder is a KV that can create.
type Adder interface {
	// Add puts the item unless there is one: ErrExists.
	Add(item *Item, opts ...CallOption) error
}

// CAS is a KV that can replace what is known.
type CAS interface {
	// CompareAndSwap replaces the value old by the item, atomically; ErrConflict
	// when the value is another, ErrNotFound when there is none.
	CompareAndSwap(old []byte, item *Item, opts ...CallOption) error
}

// Counter is a KV that can count.
type Counter interface {
	// Incr adds delta to the decimal number in the value, atomically, and
	// returns the sum. A key that is not there counts as 0 and gets no
	// expiration; a key that is there keeps its own. Incr returns ErrInvalid when
	// the value or the sum is not an int64.
	Incr(key string, delta int64, opts ...CallOption) (int64, error)
}

// Toucher is a KV that can prolong.
type Toucher interface {
	// Touch gives the item another expiration, 0 for ever; ErrNotFound if there
	// is none.
	Touch(key string, expiration time.Duration, opts ...CallOption) error
}

// Many is a KV that reads many keys in one round trip per server.
type Many interface {
	// GetMany returns the items that are there, by key, of at most MaxMany keys.
	GetMany(keys []string, opts ...CallOption) (map[string]*Item, error)
}

// What members of the default plugin do now and then.
var (
	// GossipTopic is where a member announces itself when it comes.
	GossipTopic = "go.micro.kv.announce"
	// GossipEvent is how often a member announces itself again and asks the
	// registry for other members.
	GossipEvent = 5 * time.Second
	// ReaperEvent is how often expired items are removed.
	ReaperEvent = 30 * time.Second
)
