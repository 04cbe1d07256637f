package regcache

import (
	"maps"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	// maxCriticalPart is how many checks, in percent of all, may turn critical
	// within a heartbeat's interval and be believed; a single one always is.
	maxCriticalPart = 15
	doubtOutage     = 3  // intervals, in which those that are well renew
	doubtMass       = 20 // intervals, after which they were taken away
)

// doubts are about nodes whose checks turned critical in a mass, or soon after
// Consul was away. Consul counts the time to live of a check while nobody can
// reach it to renew: when it is back after longer than that every check is
// critical, and the nodes are well.
type doubts struct {
	broke  time.Time              // when Consul was back from where it could not be followed
	turned map[checkKey]time.Time // critical since
	until  map[checkKey]time.Time // the nodes in doubt are kept
}

// patience returns how long a query may wait, so that a doubt ends in time.
func (f *consul) patience(loop int) time.Duration {
	wait := consulWait
	if loop == 0 {
		for _, until := range f.doubts.until {
			wait = min(wait, max(time.Until(until), time.Second))
		}
	}
	return wait
}

// judge drops the nodes whose checks turned critical, or keeps them for a while.
// Those whose time is over are dropped.
func (f *consul) judge(turned, fresh map[checkKey]*api.HealthCheck, now time.Time) {
	d := &f.doubts
	beat := f.cache.opts.beat
	f.forget(fresh, now.Add(-beat))
	for k := range turned {
		d.turned[k] = now
	}
	switch {
	case len(turned) == 0:
	case len(d.turned) > max(1, len(fresh)*maxCriticalPart/100):
		f.doubt(fresh, now.Add(doubtMass*beat))
	case now.Sub(d.broke) < beat:
		f.doubt(fresh, now.Add(doubtOutage*beat))
	default:
		for _, check := range turned {
			f.cache.buried(check.ServiceName, check.ServiceID)
		}
	}
	for k, until := range d.until {
		if !now.Before(until) {
			f.cache.buried(fresh[k].ServiceName, fresh[k].ServiceID)
			delete(d.until, k)
		}
	}
}

// forget drops what is known of checks that are critical no longer, or turned so
// before a time.
func (f *consul) forget(fresh map[checkKey]*api.HealthCheck, before time.Time) {
	d := &f.doubts
	fine := func(k checkKey) bool { return fresh[k] == nil || fresh[k].Status != api.HealthCritical }
	maps.DeleteFunc(d.turned, func(k checkKey, at time.Time) bool { return fine(k) || at.Before(before) })
	if len(d.until) == 0 {
		return
	}
	maps.DeleteFunc(d.until, func(k checkKey, _ time.Time) bool { return fine(k) })
	if len(d.until) == 0 {
		f.cache.opts.logger.Info("critical checks are believed again", "registry", "consul")
	}
}

// doubt keeps the nodes of all checks that turned critical of late, and brings
// back those that were dropped before there were so many.
func (f *consul) doubt(fresh map[checkKey]*api.HealthCheck, until time.Time) {
	d := &f.doubts
	if len(d.until) == 0 {
		f.cache.opts.logger.Warn("many checks turned critical together, or while the registry was away: their nodes are kept for now",
			"registry", "consul", "checks", len(d.turned))
	}
	for k := range d.turned {
		if _, known := d.until[k]; !known {
			d.until[k] = until
			f.cache.spare(fresh[k].ServiceName, fresh[k].ServiceID, until)
		}
	}
}

// spare keeps the node of this id, also one that was buried, though answers lack
// it.
func (c *Cache) spare(name, id string, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.records[name]
	if r == nil {
		return
	}
	c.clock++
	for k, g := range r.graves {
		if k.id == id && g.held != nil && r.nodes[k] == nil {
			r.nodes[k] = &held{node: g.held.node, heard: c.clock, at: g.held.at}
			delete(r.graves, k)
		}
	}
	for k, h := range r.nodes {
		if k.id == id {
			h.spared = until
		}
	}
	c.changed(name, r)
}
