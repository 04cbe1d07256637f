// Package stamp writes the end of a value's life in front of it, for stores that
// count in whole seconds or not at all. The end is a wall time: those who read
// and write must agree on it as well as the values need.
package stamp

import (
	"encoding/binary"
	"slices"
	"time"
)

// Mark tells stamped values from others where a store keeps a number beside.
const Mark = 0x6b760001

const size = 8 // unix milliseconds, big endian

// Put returns the value with its end, in whole milliseconds, rounded up.
func Put(value []byte, ttl time.Duration) []byte {
	end := time.Now().Add(ttl + time.Millisecond - 1).UnixMilli()
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, size+len(value)), uint64(end)), value...)
}

// Cut returns the value without its end, and how much is left of its life: ok is
// false when nothing is, or when there was no stamp.
func Cut(stamped []byte) (value []byte, left time.Duration, ok bool) {
	if len(stamped) < size {
		return nil, 0, false
	}
	left = time.Until(time.UnixMilli(int64(binary.BigEndian.Uint64(stamped))))
	if left > time.Millisecond {
		left = left.Truncate(time.Millisecond) // what Put rounded up
	}
	return slices.Clip(stamped[size:]), left, left > 0
}
