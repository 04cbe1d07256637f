package regcache

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"go-micro.dev/v6/registry"
)

// At etcd a lease that ended looks as a deregistration does, unless the node was
// draining before, which internal/etcdreg sees to. Where many leases end within a
// heartbeat's interval it is more likely that the registry could not be reached than
// that all of them died.

const (
	probeTime = 300 * time.Millisecond // to connect to a node in doubt
	probes    = 8                      // at a time
)

// mass are the nodes whose leases ended together. The cache's mutex guards it.
type mass struct {
	ended  map[nodeName]time.Time // of late
	doubts map[nodeName]*doubted
}

type nodeName struct {
	service string
	nodeKey
}

// doubted is a node that is kept.
type doubted struct {
	address string
	heard   uint64 // the clock at its last word before
	until   time.Time
	probed  bool
}

// masses reports whether the registry's tombstones may be of leases that ended in a
// mass without reason.
func masses(r Source) bool { return r != nil && r.String() == "etcd" }

// ended takes the tombstone of a node that was not draining. The caller holds the
// mutex.
func (c *Cache) ended(name string, r *record, k nodeKey) {
	now, m := time.Now(), &c.mass
	if m.ended == nil {
		m.ended, m.doubts = make(map[nodeName]time.Time), make(map[nodeName]*doubted)
	}
	for n, at := range m.ended {
		if now.Sub(at) > c.opts.beat {
			delete(m.ended, n)
		}
	}
	if r.nodes[k] == nil && m.doubts[nodeName{name, k}] == nil {
		r.bury(k, c.clock)
		return // it was not known
	}
	if m.doubts[nodeName{name, k}] != nil {
		return // it is in doubt already
	}
	r.bury(k, c.clock)
	m.ended[nodeName{name, k}] = now
	all := len(m.ended)
	for _, other := range c.records {
		all += len(other.nodes)
	}
	if len(m.ended) > max(1, all*maxCriticalPart/100) {
		c.suspect(now.Add(doubtMass * c.opts.beat))
	}
}

// suspect brings back the nodes whose leases ended of late. The caller holds the
// mutex.
func (c *Cache) suspect(until time.Time) {
	m := &c.mass
	if len(m.doubts) == 0 {
		c.opts.logger.Warn("many leases ended together: those of their nodes that do not refuse connections are kept for now",
			"registry", c.registry.String(), "leases", len(m.ended))
	}
	for n := range m.ended {
		r := c.records[n.service]
		if r == nil || m.doubts[n] != nil {
			continue
		}
		g, ok := r.graves[n.nodeKey]
		if !ok || g.held == nil || r.nodes[n.nodeKey] != nil {
			continue
		}
		h := &held{node: g.held.node, heard: g.dug, at: g.held.at, spared: until}
		r.nodes[n.nodeKey] = h
		delete(r.graves, n.nodeKey)
		m.doubts[n] = &doubted{address: h.node.Address, heard: h.heard, until: until}
		c.changed(n.service, r)
	}
	c.hurry()
}

// settle drops the nodes in doubt that refuse connections, or whose time is over. It
// is the refresher's.
func (c *Cache) settle(ctx context.Context) {
	c.mu.Lock()
	ask := make(map[nodeName]string)
	now := time.Now()
	for n, d := range c.mass.doubts {
		switch r := c.records[n.service]; {
		case r == nil || r.nodes[n.nodeKey] == nil || r.nodes[n.nodeKey].heard > d.heard:
			delete(c.mass.doubts, n) // it is back, or left
		case !now.Before(d.until):
			c.drop(n)
		case !d.probed:
			d.probed = true
			ask[n] = d.address
		}
	}
	c.mu.Unlock()
	for _, n := range refusing(ctx, ask) {
		c.mu.Lock()
		c.drop(n)
		c.mu.Unlock()
	}
}

// drop buries a node that was in doubt. The caller holds the mutex.
func (c *Cache) drop(n nodeName) {
	delete(c.mass.doubts, n)
	if r := c.records[n.service]; r != nil && r.nodes[n.nodeKey] != nil {
		c.clock++
		r.bury(n.nodeKey, c.clock)
		c.changed(n.service, r)
	}
}

// refusing returns the nodes that refuse connections.
func refusing(ctx context.Context, nodes map[nodeName]string) (dead []nodeName) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	free := make(chan struct{}, probes)
	for n, address := range nodes {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			ctx, cancel := context.WithTimeout(ctx, probeTime)
			defer cancel()
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp", address)
			if err == nil {
				_ = conn.Close() // it has shown what it was for
				return
			}
			if errors.Is(err, syscall.ECONNREFUSED) {
				mu.Lock()
				defer mu.Unlock()
				dead = append(dead, n)
			}
		})
	}
	wg.Wait()
	return dead
}

// leaves reports whether a node that is told to be gone said before that it leaves.
func (r *record) leaves(k nodeKey, told *registry.Node) bool {
	h := r.nodes[k]
	return IsDraining(told) || h != nil && IsDraining(h.node)
}
