// Package stamp writes the end of a value's life in front of it, for stores that
// count in whole seconds or not at all. The end is a wall time: the clocks of readers
// and writers must agree as well as the values need.
//
// Both are told what time it is. A caller that writes back what was left of a
// value's life passes the same time to both, however long it took in between: then
// the end is the one that was read.
package stamp

import (
	"encoding/binary"
	"slices"
	"time"
)

// Mark tells stamped values from others where a store keeps a number beside them.
const Mark = 0x6b760001

const size = 8 // unix milliseconds, big endian

// Put returns the value with its end, in whole milliseconds, rounded up.
func Put(value []byte, now time.Time, ttl time.Duration) []byte {
	end := now.Add(ttl + time.Millisecond - 1).UnixMilli()
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, size+len(value)), uint64(end)), value...)
}

// Cut returns the value without its end, and how much is left of its life: ok is
// false when nothing is, or when there was no stamp.
func Cut(stamped []byte, now time.Time) (value []byte, left time.Duration, ok bool) {
	if len(stamped) < size {
		return nil, 0, false
	}
	left = time.UnixMilli(int64(binary.BigEndian.Uint64(stamped))).Sub(now)
	if left > time.Millisecond {
		left = left.Truncate(time.Millisecond) // what Put rounded up
	}
	return slices.Clip(stamped[size:]), left, left > 0
}
