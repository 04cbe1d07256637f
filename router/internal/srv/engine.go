package srv

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/micro/go-platform/internal/regcache"
	"github.com/micro/go-platform/internal/rpcerr"
	pb "github.com/micro/go-platform/router/proto"
)

const (
	maxTables   = 5_000            // services known at a time
	idle        = 10 * time.Minute // after which a service nobody asks for is forgotten
	idleUnknown = 30 * time.Second // likewise, when the registry does not know it
)

// lookup returns what is known of a service, nil when that is nothing, and
// whether it is nothing because the registry did not answer. It never waits.
type lookup func(service string) (s *regcache.Snapshot, stale bool)

// settings are what an operator may choose.
type settings struct {
	window     time.Duration // how far back reports count
	minCallers int           // how many must have reported before a node is ejected
	ejection   time.Duration // of the first time
	retryRatio float64       // unless a limit says otherwise
}

// engine is all that router-srv knows, in memory.
type engine struct {
	settings
	epoch    string
	clock    clock
	nodes    lookup
	want     func(service string) // have a service looked for
	policy   atomic.Pointer[policy]
	revision atomic.Uint64 // of the newest change of anything
	news     atomic.Pointer[chan struct{}]
	deriving sync.Mutex // one derivation at a time

	mu           sync.Mutex
	tables       map[string]*table
	callers      map[string]*caller
	topicCallers int
}

func newEngine(s settings, nodes lookup, want func(string), now time.Time) *engine {
	e := &engine{
		settings: s, epoch: uuid.NewString(), clock: newClock(now, s.window), nodes: nodes, want: want,
		tables: make(map[string]*table), callers: make(map[string]*caller),
	}
	e.policy.Store(&policy{})
	news := make(chan struct{})
	e.news.Store(&news)
	return e
}

// changed returns a channel that is closed at the next change of anything.
func (e *engine) changed() <-chan struct{} { return *e.news.Load() }

func (e *engine) publish() {
	fresh := make(chan struct{})
	close(*e.news.Swap(&fresh))
}

// table returns what is known of a service; a new one is derived at once.
func (e *engine) table(service string, now time.Time) (*table, error) {
	e.mu.Lock()
	t := e.tables[service]
	if t == nil && len(e.tables) >= maxTables {
		e.mu.Unlock()
		return nil, fmt.Errorf("service: %w: %d services already", rpcerr.ErrLimited, maxTables)
	}
	fresh := t == nil
	if fresh {
		t = newTable(service)
		e.tables[service] = t
		t.mu.Lock() // nobody sees it before it is derived
		defer t.mu.Unlock()
	}
	t.used.Store(int64(e.clock.since(now))) // within the mutex: see drop
	e.mu.Unlock()
	if fresh {
		e.derive(t, now)
	}
	return t, nil
}

// report counts what a caller measured. Nodes and services that the registry
// does not know are left out.
func (e *engine) report(id identity, r *pb.ReportRequest, now time.Time) error {
	c, err := e.admit(id, r, now)
	if err != nil || c == nil {
		return err
	}
	for _, s := range r.Stats { // it comes once: what can be counted is
		if cerr := e.count(c, s, r.IntervalMs, now); err == nil {
			err = cerr
		}
	}
	return err
}

// reportTopic counts what the topic says, for Stats alone.
func (e *engine) reportTopic(id identity, s *pb.Stats, now time.Time) error {
	e.mu.Lock()
	c, err := e.known(id, true, now)
	if c != nil {
		c.heard, c.interval = now, max(time.Duration(s.Duration)*time.Second, time.Second)
	}
	e.mu.Unlock()
	if err != nil || c == nil {
		return err
	}
	return e.count(c, s, 1000, now)
}

func (e *engine) count(c *caller, s *pb.Stats, intervalMs int64, now time.Time) error {
	if known, _ := e.nodes(s.Service.Name); known == nil {
		e.want(s.Service.Name)
		return nil
	}
	t, err := e.table(s.Service.Name, now)
	if err != nil {
		return err
	}
	covered := s.DurationMs
	if covered == 0 {
		covered = s.Duration * 1000
	}
	if covered == 0 {
		covered = intervalMs
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count(c, s, covered, e.clock.slot(now))
}

// tick derives everything anew and tells who waits when anything changed.
func (e *engine) tick(now time.Time) {
	e.deriving.Lock()
	defer e.deriving.Unlock()
	e.forgetCallers(now)
	changed := false
	for _, t := range e.all() {
		t.mu.Lock()
		if e.derive(t, now) {
			changed = true
		}
		unused := t.unused(e.clock.since(now))
		t.mu.Unlock()
		if unused {
			e.drop(t, now)
		}
	}
	if changed {
		e.publish()
	}
}

func (e *engine) all() []*table {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]*table, 0, len(e.tables))
	for _, t := range e.tables {
		all = append(all, t)
	}
	return all
}

// drop forgets a table, unless somebody got hold of it meanwhile.
func (e *engine) drop(t *table, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.unused(e.clock.since(now)) {
		delete(e.tables, t.name)
	}
}
