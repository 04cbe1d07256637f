package call

import "time"

// Clock measures how long calls take: half the price of time.Now, which reads
// the wall clock too. Wrappers make one when they are built.
type Clock struct{ epoch time.Time }

// NewClock returns a clock that begins now.
func NewClock() Clock { return Clock{time.Now()} }

// Now returns the time since the clock began.
func (c Clock) Now() time.Duration { return time.Since(c.epoch) }
