package regcache

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/lifecycle"
)

// consulWait is how long Consul holds a blocking query.
const consulWait = time.Minute

// A blocking query answers at once when anything changes, so bursts of changes
// are taken together.
const consulPace = 100 * time.Millisecond

// consul follows the checks and the catalog.
type consul struct {
	cache  *Cache
	client func() *api.Client
	// checked are the services that have checks.
	checked atomic.Pointer[map[string]bool]
	doubts  doubts // of the loop that follows the checks

	mu    sync.Mutex
	fine  [2]bool   // the loops that follow it now
	since time.Time // when both began to follow this Consul
}

func followConsul(ctx context.Context, c *Cache, client func() *api.Client) {
	f := &consul{cache: c, client: client}
	f.doubts.turned, f.doubts.until = make(map[checkKey]time.Time), make(map[checkKey]time.Time)
	f.checked.Store(&map[string]bool{})
	var wg sync.WaitGroup
	wg.Go(func() { f.loop(ctx, 0, f.checks()) })
	f.loop(ctx, 1, f.catalog())
	wg.Wait()
}

// query asks for what is newer than the index and compares it with what it
// knows; lost tells that it may be another Consul's, by the index or after an
// error, kept that it is the same one.
type query func(q *api.QueryOptions, lost bool) (index uint64, kept bool, err error)

// safely is the query under recover: go-micro's registry has no client when its
// configuration is bad.
func (ask query) safely(q *api.QueryOptions, lost bool) (index uint64, kept bool, err error) {
	defer caught("its client of Consul", &err)
	return ask(q, lost)
}

// mark notes whether a loop follows Consul, and whether that is the one it
// followed before.
func (f *consul) mark(loop int, fine, kept bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fine[loop] = fine
	if fine && !kept {
		f.since = time.Now()
	}
	if f.fine[0] && f.fine[1] {
		f.cache.watched()
		since := f.since
		f.cache.sure.Store(&since)
		return
	}
	f.cache.sure.Store(nil)
}

func (f *consul) loop(ctx context.Context, me int, ask query) {
	wait := backoff.Backoff{Max: 5 * time.Second}
	var index uint64
	lost := true
	for ctx.Err() == nil {
		q := (&api.QueryOptions{WaitIndex: index, WaitTime: f.patience(me)}).WithContext(ctx)
		now, kept, err := ask.safely(q, lost)
		if err != nil {
			f.mark(me, false, false)
			if ctx.Err() == nil && !f.cache.blind.Swap(true) {
				f.cache.opts.logger.Warn("cannot watch the registry, will retry", "registry", "consul", "error", err)
			}
			index, lost = 0, true
			_ = wait.Wait(ctx) // the loop ends with ctx
			continue
		}
		if f.cache.blind.Swap(false) {
			f.cache.opts.logger.Info("watching the registry again", "registry", "consul")
		}
		f.mark(me, true, kept || !lost)
		if lost {
			f.cache.resync()
		}
		wait.Reset()
		lost = now < index
		if index = now; lost {
			index = 0
		}
		if !lifecycle.Sleep(ctx, consulPace) {
			return
		}
	}
}

type checkKey struct{ node, id string }

// checks compares the health checks.
func (f *consul) checks() query {
	known := map[checkKey]*api.HealthCheck{}
	var index uint64
	return func(q *api.QueryOptions, lost bool) (uint64, bool, error) {
		all, meta, err := f.client().Health().State(api.HealthAny, q)
		if err != nil {
			return 0, false, err
		}
		fresh := make(map[checkKey]*api.HealthCheck, len(all))
		checked := make(map[string]bool)
		same, other := 0, 0
		for _, check := range all {
			if check.ServiceID == "" {
				continue // of the machine
			}
			k := checkKey{check.Node, check.CheckID}
			fresh[k], checked[check.ServiceName] = check, true
			if old := known[k]; old != nil && old.CreateIndex == check.CreateIndex {
				same++
			} else if old != nil {
				other++
			}
		}
		kept := same > other && meta.LastIndex >= index // what a check was created at may be the same by chance
		index = meta.LastIndex
		f.checked.Store(&checked)
		if lost && len(known) > 0 {
			f.doubts.broke = time.Now()
		}
		if lost && !kept { // what it lacks it may never have known
			known = fresh
			return meta.LastIndex, false, nil
		}
		f.compare(known, fresh)
		known = fresh
		return meta.LastIndex, kept, nil
	}
}

func (f *consul) compare(known, fresh map[checkKey]*api.HealthCheck) {
	turned := make(map[checkKey]*api.HealthCheck)
	for k, check := range fresh {
		old := known[k]
		switch {
		case old != nil && old.ModifyIndex == check.ModifyIndex:
		case check.Status != api.HealthCritical:
			f.cache.touched(check.ServiceName, check.ServiceID)
		case old != nil && old.Status == api.HealthCritical:
		case old == nil && time.Since(f.doubts.broke) > f.cache.opts.beat: // born so, until it is first renewed
			f.cache.buried(check.ServiceName, check.ServiceID)
		default:
			turned[k] = check
		}
	}
	for k, old := range known {
		if fresh[k] == nil {
			f.cache.buried(old.ServiceName, old.ServiceID)
		}
	}
	f.judge(turned, fresh, time.Now())
}

// catalog compares the names of services and their tags, in which go-micro
// keeps the metadata.
func (f *consul) catalog() query {
	known := map[string]string{}
	return func(q *api.QueryOptions, lost bool) (uint64, bool, error) {
		all, meta, err := f.client().Catalog().Services(q)
		if err != nil {
			return 0, false, err
		}
		fresh := make(map[string]string, len(all))
		kept := false
		for name, tags := range all {
			slices.Sort(tags)
			fresh[name] = strings.Join(tags, "\n")
			_, old := known[name]
			kept = kept || old && name != "consul"
		}
		if !lost { // else those may be missing that have not come back to a Consul that lost its state
			for name := range known {
				if _, left := fresh[name]; !left {
					f.cache.buried(name, "")
				}
			}
		}
		f.changed(known, fresh)
		known = fresh
		return meta.LastIndex, kept, nil
	}
}

// changed has those services fetched whose tags differ, and those that no check
// tells of.
func (f *consul) changed(known, fresh map[string]string) {
	checked := *f.checked.Load()
	for name := range maps.Keys(fresh) {
		if old, ok := known[name]; !ok || old != fresh[name] || !checked[name] {
			f.cache.touched(name, "")
		}
	}
}

// touched has a service fetched soon if it is held. A node of this id is back
// from its grave.
func (c *Cache) touched(name, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.misses, name)
	r := c.records[name]
	if r == nil {
		return
	}
	for k := range r.graves {
		if k.id == id {
			delete(r.graves, k)
		}
	}
	c.later(name, 0)
}
