package regcache

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/lifecycle"
)

const workers = 4 // fetches at once

// follow is the loop that hears of changes.
func (c *Cache) follow(ctx context.Context) {
	if r, ok := c.registry.(interface{ Client() *api.Client }); ok {
		followConsul(ctx, c, r.Client)
		return
	}
	wait := backoff.Backoff{Max: 5 * time.Second}
	for ctx.Err() == nil {
		heard, err := c.watch(ctx)
		if heard {
			wait.Reset()
		}
		if ctx.Err() == nil && !c.blind.Swap(true) {
			c.opts.logger.Warn("cannot watch the registry, asking it instead", "registry", c.registry.String(), "error", err)
		}
		c.hurry()
		_ = wait.Wait(ctx) // the loop ends with ctx
	}
}

// watch reads one watcher to its end.
func (c *Cache) watch(ctx context.Context) (heard bool, _ error) {
	w, err := c.guarded.Watch()
	if err != nil {
		return false, err
	}
	stop := context.AfterFunc(ctx, w.Stop)
	defer func() {
		if stop() {
			w.Stop()
		}
	}()
	if c.blind.Swap(false) {
		c.opts.logger.Info("watching the registry again", "registry", c.registry.String())
	}
	c.watched()
	c.resync() // what happened before the watcher was there
	for {
		result, err := w.Next()
		if err != nil {
			return heard, err
		}
		heard = true
		if result != nil {
			c.event(result.Action, result.Service)
		}
	}
}

// refresh is the loop that fetches services again.
func (c *Cache) refresh(ctx context.Context) {
	failing := backoff.Backoff{Max: 5 * time.Second}
	next := time.Now().Add(c.period())
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-timer.C:
		}
		c.settle(ctx)
		now := time.Now()
		if early := now.Add(c.period()); early.Before(next) && c.blind.Load() {
			next = early // the watcher is gone
		}
		if !now.Before(next) {
			c.prune(now)
			c.resync()
			next = now.Add(c.period())
		}
		if c.fetchDue(ctx, now) {
			failing.Reset()
		} else if !lifecycle.Sleep(ctx, failing.Next()) {
			return
		}
		timer.Reset(time.Until(c.soonest(next)))
	}
}

// period is the time from one resync to the next.
func (c *Cache) period() time.Duration {
	d := c.opts.resync
	if c.blind.Load() {
		d = min(d, c.opts.poll)
	}
	return d - d/5 + rand.N(2*d/5)
}

// fetchDue fetches what is dirty by now, a few at a time. It gives up when the
// registry does not answer, and returns false; the rest stays dirty.
func (c *Cache) fetchDue(ctx context.Context, now time.Time) bool {
	names := make(chan string)
	failed := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	due := c.due(now)
	for range min(workers, len(due)) {
		wg.Go(func() {
			for name := range names {
				if err := c.fetch(name); err != nil && !errors.Is(err, registry.ErrNotFound) {
					c.again(name)
					once.Do(func() { close(failed) })
				}
			}
		})
	}
	ok := true
	for i, name := range due {
		select {
		case names <- name:
			continue
		case <-failed:
		case <-ctx.Done():
		}
		ok = false
		c.again(due[i:]...)
		break
	}
	close(names)
	wg.Wait()
	select {
	case <-failed:
		return false
	default:
		return ok
	}
}

func (c *Cache) due(now time.Time) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for name, at := range c.dirty {
		if !at.After(now) {
			names = append(names, name)
			delete(c.dirty, name)
		}
	}
	return names
}

// soonest returns when the refresher has to look again.
func (c *Cache) soonest(next time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range c.dirty {
		if at.Before(next) {
			next = at
		}
	}
	return next
}

// later has the service fetched after a while. The caller holds the mutex.
func (c *Cache) later(name string, after time.Duration) {
	at := time.Now().Add(after)
	if old, ok := c.dirty[name]; ok && old.Before(at) {
		return
	}
	c.dirty[name] = at
	c.hurry()
}

func (c *Cache) again(names ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		c.later(name, 0)
	}
}

// resync has every service held fetched now.
func (c *Cache) resync() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for name := range c.records {
		c.dirty[name] = now
	}
	c.hurry()
}

func (c *Cache) hurry() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
