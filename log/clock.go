package log

import (
	"sync/atomic"
	"time"
)

// rebase is how long a clock may go on without looking at the wall.
const rebase = time.Second

// clock tells the time for half the cost of time.Now, which reads both the
// wall's clock and the monotonic one: it reads the latter alone and adds it to a
// reading of both that is never older than rebase. A jump of the wall clock is
// thus seen after that long.
type clock struct{ base atomic.Pointer[reading] }

type reading struct {
	at   time.Time
	unix int64
}

// now returns unix nanoseconds.
func (c *clock) now() int64 {
	if r := c.base.Load(); r != nil {
		if passed := time.Since(r.at); passed < rebase {
			return r.unix + int64(passed)
		}
	}
	at := time.Now()
	c.base.Store(&reading{at: at, unix: at.UnixNano()})
	return at.UnixNano()
}
