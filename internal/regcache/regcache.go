// Package regcache is the one cache of registry records in this codebase: the
// discovery plugin and the router read services through it.
//
// # What a reader gets
//
// A warm [Cache.Snapshot] costs two atomic loads and a map look-up and hands out
// an immutable record. Nothing expires: a record is kept up to date by one
// watcher for all services and checked by fetching it again, and when everything
// behind the cache is dead the last record stays.
//
// # What may take a node away
//
// Only a tombstone drops a node at once: a delete event that names it, which
// registries send for a deregistration and for the end of a lease. Answers are
// not believed as easily, since a registry that restarted empty or lost a
// partition answers without an error:
//
//   - An error never drops anything, nor does an answer without any node.
//   - A node that an answer lacks while it names others is dropped when at least
//     three answers in a row lacked it, over at least the time of [Confirm]; over a
//     second when it was read right before the first watcher was there, which nobody
//     told if the node left in between, and when it was draining. Empty answers count
//     then, too.
//   - A node with a tombstone stays away from answers that were asked for before
//     it, or come from a replica that lags two seconds behind it at most.
//
// Events are believed in the order they come; after each reconnect of the
// watcher, and every [Resync], all services held are fetched again.
//
// # Registries that cannot watch everything
//
// Consul is followed by two blocking queries (checks and catalog) whatever the
// number of services. A check that turns critical or vanishes is a tombstone,
// as is a service that vanishes from the catalog, unless Consul lost its state:
// its index went back, or most of what was known before is new after a reconnect.
// Checks that turn critical in a mass, or when Consul is back from an outage in
// which nobody could renew them, are not tombstones for a while ([Beat]). As long
// as Consul is followed without such a loss, three answers over a second, also
// empty ones, suffice to drop a node that was heard of in that time. In this way
// nodes go that have no check (registered without a TTL) or that came and went
// between two queries. Any other registry is asked for the services held every
// [Poll].
//
// At etcd tombstones of nodes that were not draining are those of leases that ended,
// perhaps. Where more than 15 % of all nodes get one within an interval ([Beat]) they
// are kept for 20 intervals, but for those that refuse connections.
package regcache

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go-micro.dev/v6/registry"
	"golang.org/x/sync/singleflight"

	"github.com/micro/go-platform/internal/lifecycle"
)

// Bounds of a cache.
const (
	// MaxServices are kept; beyond, one that is new takes the place of any other.
	MaxServices = 10_000
	maxMisses   = 1_000 // names remembered as not found
)

// missTime is how long the answer is remembered that a service is not there or
// the registry did not answer, so that calls of it cost no RPC each.
const missTime = 500 * time.Millisecond

// Of returns the cache that a registry has itself, so that nobody needs to put
// another on top of it; nil when it has none. Discovery has a method for that.
func Of(r registry.Registry) *Cache {
	if own, ok := r.(interface{ Cache() *Cache }); ok {
		return own.Cache()
	}
	return nil
}

// Source is what a cache needs of a registry.Registry.
type Source interface {
	GetService(string, ...registry.GetOption) ([]*registry.Service, error)
	ListServices(...registry.ListOption) ([]*registry.Service, error)
	Watch(...registry.WatchOption) (registry.Watcher, error)
	String() string
}

// window is the time between the first reads and the first watcher, in which a node may
// have left without anybody telling.
type window struct {
	began, ended time.Time // zero until the watcher is there
	clock        uint64    // when it ended
}

// windowTime is how long the window may be, and how long after it answers that lack a
// node of it are believed.
const windowTime = 10 * time.Second

// watched notes that there is a watcher; the first one ends the window.
func (c *Cache) watched() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); c.window.ended.IsZero() {
		c.window = window{now.Add(-windowTime), now, c.clock}
	}
}

// has reports whether a node was heard of in the window, from the registry itself,
// and not since.
func (w window) has(h *held, now time.Time) bool {
	return !w.ended.IsZero() && now.Sub(w.ended) < windowTime && h.heard <= w.clock && h.at.After(w.began)
}

// Cache holds the records of the services that were asked for. All methods are
// safe for concurrent use. It may be used before Start and after Stop: it then
// asks the registry each time, and falls back on what it holds.
type Cache struct {
	registry Source
	guarded  guarded // of it: for all calls
	opts     options
	group    lifecycle.Group
	running  atomic.Bool
	names    atomic.Pointer[map[string]*record] // those with nodes; replaced, never changed
	flights  singleflight.Group
	blind    atomic.Bool               // there is no watcher
	sure     atomic.Pointer[time.Time] // since when the registry has lost nothing; nil: who knows
	wake     chan struct{}             // of the refresher
	unsaved  atomic.Bool               // the snapshot file is older than the records

	mu       sync.Mutex // of everything below and of all records
	clock    uint64     // counts events and answers
	revision uint64
	records  map[string]*record
	misses   map[string]miss
	expected map[string]uint64    // the clock at Expect
	dirty    map[string]time.Time // to be fetched, not before
	window   window
	mass     mass
	listed   map[string]*registry.Service
}

type miss struct {
	err   error
	until time.Time
}

// New returns a cache of the registry's records. It does no I/O. Its goroutines,
// three and at most six while it fetches, run from Start to Stop.
func New(r Source, opts ...Option) *Cache {
	c := &Cache{
		registry: r,
		guarded:  guarded{r},
		opts:     newOptions(opts),
		wake:     make(chan struct{}, 1),
		records:  make(map[string]*record),
		misses:   make(map[string]miss),
		expected: make(map[string]uint64),
		dirty:    make(map[string]time.Time),
		listed:   make(map[string]*registry.Service),
	}
	c.names.Store(&map[string]*record{})
	return c
}

// Start reads the snapshot file, if there is one, and begins to keep records up
// to date. It is idempotent and needs no registry to be there. A bad option is
// reported here; a snapshot file that cannot be read is logged and left alone.
func (c *Cache) Start() error {
	if err := c.opts.validate(); err != nil {
		return err
	}
	if c.group.Running() {
		return nil
	}
	c.load()
	if err := c.group.Start(c.follow, c.refresh, c.save); err != nil {
		return fmt.Errorf("start registry cache: %w", err)
	}
	c.running.Store(true)
	return nil
}

// Stop ends all background work within two seconds and writes the snapshot file
// a last time. It is idempotent.
func (c *Cache) Stop() error {
	c.running.Store(false)
	if err := c.group.Stop(lifecycle.FlushTimeout); err != nil {
		return fmt.Errorf("stop registry cache: %w", err)
	}
	return nil
}

// Snapshot returns the service as it is known now, registry.ErrNotFound when it
// is not, or the registry's error when it was never heard of. Warm it never
// waits; cold it fetches once for all that ask.
func (c *Cache) Snapshot(name string) (*Snapshot, error) {
	if c.running.Load() {
		if s := c.warm(name); s != nil {
			return s, nil
		}
	} else if err := c.opts.before(); err != nil {
		if s := c.warm(name); s != nil {
			return s, nil
		}
		return nil, err
	}
	return c.cold(name)
}

// GetService returns a copy that the caller may change (all but the request and
// response types of endpoints, which are shared), without the nodes that are
// draining. What it costs is the copies of the nodes' metadata.
func (c *Cache) GetService(name string, _ ...registry.GetOption) ([]*registry.Service, error) {
	s, err := c.Snapshot(name)
	if err != nil {
		return nil, err
	}
	if len(s.Nodes) == 0 {
		return nil, registry.ErrNotFound
	}
	return s.Open(), nil
}

// warm returns what is held, nil when there is nothing.
func (c *Cache) warm(name string) *Snapshot {
	if r := (*c.names.Load())[name]; r != nil {
		return r.snapshot.Load()
	}
	return nil
}

// cold asks the registry, once for all who do so now.
func (c *Cache) cold(name string) (*Snapshot, error) {
	if err := c.missed(name); err != nil {
		return nil, err
	}
	_, err, _ := c.flights.Do(name, func() (any, error) {
		if c.running.Load() && c.warm(name) != nil { // the flight before brought it
			return nil, nil
		}
		return nil, c.fetch(name)
	})
	s := c.warm(name) // also after an error: it is as good as it gets
	switch {
	case s != nil && (err == nil || c.running.Load() || !errors.Is(err, registry.ErrNotFound)):
		return s, nil
	case err == nil: // it went away meanwhile
		err = registry.ErrNotFound
	}
	return nil, err
}

func (c *Cache) missed(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m, ok := c.misses[name]; ok && time.Now().Before(m.until) {
		return m.err
	}
	return nil
}

// fetch asks the registry and takes what it says. It returns an error when
// nothing is known afterwards, and when the registry did not answer.
func (c *Cache) fetch(name string) error {
	asked := c.ask(name)
	services, err := c.guarded.GetService(name)
	if err == nil && !populated(services) {
		err = registry.ErrNotFound
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.record(name) // may be pruned by now
	switch {
	case err == nil:
		if !c.running.Load() { // nobody brings tombstones
			clear(r.nodes)
		}
		c.answer(name, r, services, asked)
	case errors.Is(err, registry.ErrNotFound) && len(r.nodes) > 0 && !r.pending && c.running.Load():
		c.lack(name, r, nil, asked)
		c.changed(name, r)
		return nil // held against an empty answer
	default:
		c.miss(name, r, err, asked)
	}
	return err
}

// ask notes that a question goes out, so that events from now on are not lost
// on a service that is not held yet, and returns the clock.
func (c *Cache) ask(name string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock++
	if c.records[name] == nil {
		c.record(name).pending = true
	}
	return c.clock
}

// Expect says that the service was just registered by this process: answers to earlier
// questions, that it is not there, do not count any more.
func (c *Cache) Expect(name string) {
	c.flights.Forget(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock++
	delete(c.misses, name)
	if len(c.expected) >= maxMisses {
		clear(c.expected)
	}
	c.expected[name] = c.clock
}

// miss remembers for a moment that nothing is known of a service. The caller
// holds the mutex.
func (c *Cache) miss(name string, r *record, err error, asked uint64) {
	if len(r.nodes) > 0 && !r.pending {
		return
	}
	delete(c.records, name)
	if len(c.misses) >= maxMisses {
		clear(c.misses)
	}
	if c.running.Load() && asked >= c.expected[name] {
		c.misses[name] = miss{err, time.Now().Add(missTime)}
	}
}

func populated(services []*registry.Service) bool {
	return slices.ContainsFunc(services, func(s *registry.Service) bool { return len(s.Nodes) > 0 })
}

// publish makes r what readers find under name; nil takes it away. The caller
// holds the mutex.
func (c *Cache) publish(name string, r *record) {
	names := *c.names.Load()
	if names[name] == r {
		return
	}
	fresh := maps.Clone(names)
	fresh[name] = r
	if r == nil {
		delete(fresh, name)
	}
	c.names.Store(&fresh)
}

// ListServices returns the registry's list and what is held beside it; when the
// registry does not answer, the list it gave last. Like those of go-micro's
// registries the services may carry no more than their name.
func (c *Cache) ListServices(opts ...registry.ListOption) ([]*registry.Service, error) {
	services, err := c.list(opts)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		clear(c.listed)
		for _, s := range services {
			c.listed[s.Name+"\x00"+s.Version] = s
		}
	} else if len(c.listed)+len(*c.names.Load()) == 0 {
		return nil, err
	}
	named := make(map[string]bool)
	all := make([]*registry.Service, 0, len(c.listed))
	for _, s := range c.listed {
		named[s.Name] = true
		all = append(all, s)
	}
	for name, r := range *c.names.Load() {
		if !named[name] {
			all = append(all, r.snapshot.Load().Services...)
		}
	}
	return clone(all), nil
}

func (c *Cache) list(opts []registry.ListOption) ([]*registry.Service, error) {
	if !c.running.Load() {
		if err := c.opts.before(); err != nil {
			return nil, err
		}
	}
	return c.guarded.ListServices(opts...)
}
