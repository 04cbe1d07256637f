// Package loss counts what a plugin had to drop and makes it visible: one log
// line when a burst begins, one when it is over, and a total that the monitor
// publishes. Every bounded buffer of this project owns one Counter.
package loss

import (
	"log/slog"
	"sync/atomic"
)

// Counter counts drops. The zero value is ready; all methods are safe for
// concurrent use but Report, which belongs to the plugin's one loop.
type Counter struct {
	total    atomic.Uint64
	reported uint64
	began    uint64
	burst    bool
}

// Add counts n drops.
func (c *Counter) Add(n int) { c.total.Add(uint64(n)) }

// Total returns all drops since the start.
func (c *Counter) Total() uint64 { return c.total.Load() }

// Report looks for drops since the last Report and logs the begin and the end
// of a burst, not its items. Call it at a steady interval; a burst is over
// when an interval passed without a drop.
func (c *Counter) Report(log *slog.Logger, what, why string) {
	total := c.total.Load()
	switch {
	case total > c.reported && !c.burst:
		c.began, c.burst = c.reported, true
		log.Warn("dropping "+what, "why", why, "dropped", total-c.began)
	case total == c.reported && c.burst:
		c.burst = false
		log.Info("no longer dropping "+what, "dropped", total-c.began)
	}
	c.reported = total
}

// Dropper is what a plugin that can drop offers, so that the monitor can
// publish it.
type Dropper interface {
	// Dropped returns how many items were dropped since the start.
	Dropped() uint64
}
