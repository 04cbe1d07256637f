package srv

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/regcache"
	"github.com/micro/go-platform/internal/rpcerr"
	pb "github.com/micro/go-platform/router/proto"
)

// What is kept of one service.
const (
	maxNodes    = 5_000
	maxParts    = 2_000   // callers
	maxPairs    = 100_000 // of a caller and a node that it called
	maxRemember = 256     // endpoints
)

// table is what is known of one service.
type table struct {
	name string
	used atomic.Int64 // when somebody asked last, by the engine's clock

	mu        sync.Mutex
	nodes     map[string]*node
	parts     map[string]*part // by the caller's node
	endpoints map[string]*window[measured]
	pairs     int
	streams   int
	judged    time.Time
	weighed   time.Time
	derived   uint64 // rises when a weight or an ejection changes
	view      *view
	shared    sharing
}

// node is one of the service.
type node struct {
	id, version, zone string
	draining          bool
	sum               window[measured]
	pairs             map[string]*pair // by the caller's node
	weight            float64          // 0..1, moves
	shown             int64            // 1..100, as published
	ejection          ejection
}

// measured are the calls of one step with all that Stats tells of them.
type measured struct{ success, dropped, errors distribution }

func (m *measured) reset() {
	m.success.reset()
	m.dropped.reset()
	m.errors.reset()
}

// pair is the calls of one caller to one node.
type pair struct {
	caller      *caller
	calls       window[outcomes]
	consecutive int64
	last        int64 // step of the newest report
}

// part is what one caller has to do with the service.
type part struct {
	identity
	topic   bool
	streams int
	until   time.Time // counts as active, for Select or a stream that ended
	demand  window[demand]
	last    int64 // step of the newest report
	share   *pb.Share
}

// demand is what a caller wanted in one step.
type demand struct {
	calls     int64 // limited among them
	limited   int64
	coveredMs int64
	busyMs    float64
}

func newTable(name string) *table {
	return &table{
		name:  name,
		nodes: make(map[string]*node), parts: make(map[string]*part), endpoints: make(map[string]*window[measured]),
	}
}

// unused reports whether nobody asked or reported for long: a shorter time when
// the registry does not know the service, as names can be made up.
func (t *table) unused(since time.Duration) bool {
	bound := idle
	if t.view.of.registry == nil {
		bound = idleUnknown
	}
	return t.streams == 0 && len(t.parts) == 0 && since-time.Duration(t.used.Load()) > bound
}

// count adds what a caller measured in coveredMs.
func (t *table) count(c *caller, s *pb.Stats, coveredMs, slot int64) error {
	p, err := t.part(c.identity, c.topic)
	if err != nil {
		return err
	}
	p.last = slot
	d, fresh := p.demand.now(slot)
	if fresh {
		*d = demand{}
	}
	d.calls += s.Limited
	d.limited += s.Limited
	d.coveredMs += coveredMs
	for _, sel := range s.Selected {
		o := outcomes{momentsOf(sel.Success), momentsOf(sel.Dropped), momentsOf(sel.Errors)}
		d.calls += o.calls()
		d.busyMs += o.busy()
		if n := t.nodes[sel.Node.Id]; n != nil {
			n.count(sel, slot)
			t.pair(n, c, o, sel.Consecutive, slot)
		}
	}
	for _, e := range s.EndpointStats {
		t.countEndpoint(e, slot)
	}
	return nil
}

// part returns the caller's part in the service, made when it is new.
func (t *table) part(id identity, topic bool) (*part, error) {
	p := t.parts[id.node]
	if p == nil && len(t.parts) >= maxParts {
		return nil, fmt.Errorf("caller: %w: %d callers of %s already", rpcerr.ErrLimited, maxParts, t.name)
	}
	if p == nil {
		p = &part{}
		t.parts[id.node] = p
	}
	if p.identity != id || p.topic != topic { // new, or restarted elsewhere
		*p = part{identity: id, topic: topic, streams: p.streams, share: p.share}
	}
	return p, nil
}

func (n *node) count(s *pb.Selected, slot int64) {
	m, fresh := n.sum.now(slot)
	if fresh {
		m.reset()
	}
	m.success.report(s.Success)
	m.dropped.report(s.Dropped)
	m.errors.report(s.Errors)
}

func (t *table) pair(n *node, c *caller, o outcomes, consecutive, slot int64) {
	p := n.pairs[c.node]
	if p == nil && t.pairs >= maxPairs {
		return // counted in the node's sum, but has no vote
	}
	if p == nil || p.caller != c {
		if p == nil {
			t.pairs++
		}
		p = &pair{caller: c}
		n.pairs[c.node] = p
	}
	sum, fresh := p.calls.now(slot)
	if fresh {
		*sum = outcomes{}
	}
	sum.add(&o)
	p.consecutive, p.last = consecutive, slot
}

func (t *table) countEndpoint(e *pb.EndpointStats, slot int64) {
	w := t.endpoints[e.Name]
	if w == nil && len(t.endpoints) >= maxRemember {
		return
	}
	if w == nil {
		w = &window[measured]{}
		t.endpoints[e.Name] = w
	}
	m, fresh := w.now(slot)
	if fresh {
		m.reset()
	}
	m.success.report(e.Success)
	m.dropped.report(e.Dropped)
	m.errors.report(e.Errors)
}

// follow makes the nodes those of the registry.
func (t *table) follow(s *regcache.Snapshot) {
	there := make(map[string]bool, len(t.nodes))
	for _, v := range versions(s) {
		for _, r := range v.Nodes {
			if len(there) == maxNodes {
				break
			}
			there[r.Id] = true
			n := t.nodes[r.Id]
			if n == nil {
				n = &node{id: r.Id, pairs: make(map[string]*pair), weight: 1, shown: 100}
				t.nodes[r.Id] = n
			}
			n.version, n.zone, n.draining = v.Version, r.Metadata["zone"], regcache.IsDraining(r)
		}
	}
	for id, n := range t.nodes {
		if !there[id] {
			t.pairs -= len(n.pairs)
			delete(t.nodes, id)
		}
	}
}

// spare is how many nodes may be out: half of those that do not drain.
func (t *table) spare() int {
	usable := 0
	for _, n := range t.nodes {
		if !n.draining {
			usable++
		}
	}
	return usable / 2
}

func versions(s *regcache.Snapshot) []*registry.Service {
	if s == nil {
		return nil
	}
	return s.Services
}

// expire forgets whose last report left the window.
func (t *table) expire(slot int64, now time.Time) {
	for _, n := range t.nodes {
		for id, p := range n.pairs {
			if p.last <= slot-slots {
				delete(n.pairs, id)
				t.pairs--
			}
		}
	}
	for id, p := range t.parts {
		if p.last <= slot-slots && p.streams == 0 && now.After(p.until) {
			delete(t.parts, id)
		}
	}
	for name, w := range t.endpoints {
		empty := true
		w.each(slot, 0, func(*measured) { empty = false })
		if empty {
			delete(t.endpoints, name)
		}
	}
}
