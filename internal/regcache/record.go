package regcache

import (
	"sync/atomic"
	"time"

	"go-micro.dev/v6/registry"
)

const (
	minLacking = 3               // answers in a row that must lack a node
	graveTime  = 2 * time.Second // how far a replica may lag behind a tombstone
	keepGraves = time.Minute
	sureTime   = time.Second // of answers of a registry that lost nothing
)

// record is what is known of one service. The cache's mutex guards it but for
// the snapshot.
type record struct {
	snapshot atomic.Pointer[Snapshot]
	pending  bool                         // until the first answer
	versions map[string]*registry.Service // without nodes
	nodes    map[nodeKey]*held
	graves   map[nodeKey]grave
}

type nodeKey struct{ version, id string }

type held struct {
	node    *registry.Node
	heard   uint64    // the clock at the last word of it
	at      time.Time // of that word; zero: it is of a file
	lacking int       // answers in a row without it
	since   time.Time // of the first of them
	spared  time.Time // until then no answer's silence counts
}

type grave struct {
	dug  uint64
	at   time.Time
	held *held // nil: it was not known
}

func (c *Cache) record(name string) *record {
	r := c.records[name]
	if r == nil {
		r = &record{
			versions: make(map[string]*registry.Service),
			nodes:    make(map[nodeKey]*held),
			graves:   make(map[nodeKey]grave),
		}
		c.records[name] = r
	}
	return r
}

// event takes what a watcher says. Services that nobody asked for are left out.
func (c *Cache) event(action string, s *registry.Service) {
	if s == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.misses, s.Name)
	r := c.records[s.Name]
	if r == nil {
		return
	}
	c.clock++
	s = clone([]*registry.Service{s})[0]
	for _, n := range s.Nodes {
		k := nodeKey{s.Version, n.Id}
		if action == "delete" {
			if masses(c.registry) && !r.leaves(k, n) {
				c.ended(s.Name, r, k)
			} else {
				r.bury(k, c.clock)
			}
			continue
		}
		delete(r.graves, k)
		r.nodes[k] = &held{node: n, heard: c.clock, at: time.Now()}
		r.succeed(k, c.clock)
	}
	if action != "delete" && len(s.Nodes) > 0 {
		r.describe(s)
	}
	c.changed(s.Name, r)
	// Watchers may lose events (etcd's does of several in one message): see
	// whether that is all.
	c.later(s.Name, time.Second)
}

// buried drops the node of this id, of all nodes when it is empty.
func (c *Cache) buried(name, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.records[name]
	if r == nil {
		return
	}
	c.clock++
	for k := range r.nodes {
		if id == "" || k.id == id {
			r.bury(k, c.clock)
		}
	}
	c.changed(name, r)
}

func (r *record) bury(k nodeKey, clock uint64) {
	r.graves[k] = grave{clock, time.Now(), r.nodes[k]}
	delete(r.nodes, k)
}

// succeed buries what the node was under other versions: it came back as this one.
func (r *record) succeed(by nodeKey, clock uint64) {
	for k := range r.nodes {
		if k.id == by.id && k != by {
			r.bury(k, clock)
		}
	}
}

// describe notes what a version is beside its nodes.
func (r *record) describe(s *registry.Service) {
	version := *s
	version.Nodes = nil
	r.versions[s.Version] = &version
}

// answer takes what the registry answered to a question that was asked at that
// clock.
func (c *Cache) answer(name string, r *record, services []*registry.Service, asked uint64) {
	r.pending = false
	seen := make(map[nodeKey]bool)
	now := time.Now()
	for _, s := range clone(services) {
		if len(s.Nodes) > 0 {
			r.describe(s)
		}
		for _, n := range s.Nodes {
			k := nodeKey{s.Version, n.Id}
			seen[k] = true
			if g, dead := r.graves[k]; dead {
				if g.dug > asked || now.Sub(g.at) < graveTime {
					c.later(name, graveTime)
					continue
				}
				delete(r.graves, k)
			}
			if old := r.nodes[k]; old == nil || old.heard <= asked {
				r.nodes[k] = &held{node: n, heard: asked, at: now}
			}
		}
	}
	c.lack(name, r, seen, asked)
	c.changed(name, r)
}

// lack drops nodes that answers have lacked for long enough.
func (c *Cache) lack(name string, r *record, seen map[nodeKey]bool, asked uint64) {
	now, sure := time.Now(), c.sure.Load()
	named := make(map[string]bool, len(seen))
	for k := range seen {
		named[k.id] = true
	}
	for k, h := range r.nodes {
		switch {
		case !seen[k] && h.heard <= asked && named[k.id]: // under another version
			r.bury(k, asked)
			continue
		case seen[k] || h.heard > asked || now.Before(h.spared):
			h.lacking = 0
			continue
		case h.lacking == 0:
			h.since = now
		}
		h.lacking++
		need := c.opts.confirm
		if sure != nil && h.at.After(*sure) || !c.opts.tells && c.window.has(h, now) || IsDraining(h.node) {
			need = min(need, sureTime)
			c.later(name, sureTime/2)
		} else if len(seen) == 0 {
			continue
		}
		if h.lacking >= minLacking && now.Sub(h.since) >= need {
			delete(r.nodes, k)
		}
	}
}

// changed publishes the record if its content did.
func (c *Cache) changed(name string, r *record) {
	if r.pending {
		return // what is known so far is not all
	}
	if len(r.nodes) == 0 {
		r.snapshot.Store(nil)
		c.publish(name, nil)
		c.unsaved.Store(true)
		return
	}
	byVersion := make(map[string]*registry.Service)
	for k, h := range r.nodes {
		s := byVersion[k.version]
		if s == nil {
			copied := *r.versions[k.version]
			s = &copied
			byVersion[k.version] = s
		}
		s.Nodes = append(s.Nodes, h.node)
	}
	services := make([]*registry.Service, 0, len(byVersion))
	for _, s := range byVersion {
		services = append(services, s)
	}
	fresh := newSnapshot(name, c.revision+1, services)
	if old := r.snapshot.Load(); old == nil || !same(old.Services, fresh.Services) {
		c.revision++
		r.snapshot.Store(fresh)
		c.unsaved.Store(true)
	}
	c.publish(name, r)
	c.evict(name)
}

// evict forgets any other service when there are too many.
func (c *Cache) evict(keep string) {
	for name := range c.records {
		if len(c.records) <= MaxServices {
			return
		}
		if name != keep {
			delete(c.records, name)
			c.publish(name, nil)
		}
	}
}

// prune forgets old graves and records that hold nothing else.
func (c *Cache) prune(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, r := range c.records {
		for k, g := range r.graves {
			if now.Sub(g.at) > keepGraves {
				delete(r.graves, k)
			}
		}
		if len(r.nodes)+len(r.graves) == 0 && !r.pending {
			delete(c.records, name)
		}
	}
}
