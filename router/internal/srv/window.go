package srv

import "time"

// slots is how many steps a window has: with one step the oldest part of what
// was measured leaves.
const slots = 5

// clock numbers the steps of time, from slots on: 0 has always left the window.
type clock struct {
	began time.Time
	step  time.Duration
}

func newClock(began time.Time, window time.Duration) clock {
	return clock{began, window / slots}
}

// slot is the step that now belongs to. It never falls: began and now are read
// from the monotonic clock.
func (c clock) slot(now time.Time) int64 {
	return int64(max(now.Sub(c.began), 0)/c.step) + slots
}

// since is the time from the beginning to now.
func (c clock) since(now time.Time) time.Duration { return now.Sub(c.began) }

// window holds a T for each of the newest steps.
type window[T any] struct {
	at     [slots]int64 // which step the value belongs to, 0: none
	values [slots]T
}

// now returns the value of the step; fresh tells that it still holds what an
// old step left.
func (w *window[T]) now(slot int64) (value *T, fresh bool) {
	i := slot % slots
	fresh = w.at[i] != slot
	w.at[i] = slot
	return &w.values[i], fresh
}

// each calls f with the values of the steps that have not left at slot, from
// the step since on.
func (w *window[T]) each(slot, since int64, f func(*T)) {
	for i := range w.values {
		if at := w.at[i]; at > slot-slots && at <= slot && at >= since && at > 0 {
			f(&w.values[i])
		}
	}
}
