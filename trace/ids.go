package trace

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"unsafe"
)

// The places of the parts in a version 00 traceparent,
// "00-<trace id>-<span id>-<flags>".
const (
	traceAt, traceEnd = 3, 35
	spanAt, spanEnd   = 36, 52
	flagAt            = 54
	traceparentLen    = 55
)

// makeIDs fills in the header with a new span id, and has TraceId and Id point
// into it, so that they need no memory of their own. The ids need to be unique,
// not secret.
func (s *Span) makeIDs(traceID string, high, low uint64, sampled bool) {
	b := &s.ids
	if traceID != "" {
		copy(b[traceAt:traceEnd], traceID)
	} else {
		putHex(b[traceAt:], high)
		putHex(b[traceAt+16:], low)
	}
	b[0], b[1], b[2], b[traceEnd], b[spanEnd], b[spanEnd+1], b[flagAt] = '0', '0', '-', '-', '-', '0', '0'
	putHex(b[spanAt:], randomID())
	if sampled {
		b[flagAt] = '1'
	}
	s.made = true
	h := unsafe.String(&b[0], len(b)) // never written to again
	s.TraceId, s.Id = h[traceAt:traceEnd], h[spanAt:spanEnd]
}

// putHex writes 16 digits. It does eight at a time in one word: a span is made
// of little else.
func putHex(to []byte, id uint64) {
	binary.BigEndian.PutUint64(to, hex8(uint32(id>>32)))
	binary.BigEndian.PutUint64(to[8:], hex8(uint32(id)))
}

// hex8 returns the eight digits of v, the first in the highest byte: it spreads
// the nibbles over the bytes, then adds '0', and 39 more from ten on.
func hex8(v uint32) uint64 {
	x := uint64(v)
	x = (x | x<<16) & 0x0000ffff0000ffff
	x = (x | x<<8) & 0x00ff00ff00ff00ff
	x = (x | x<<4) & 0x0f0f0f0f0f0f0f0f
	letters := (x + 0x0606060606060606) >> 4 & 0x0101010101010101
	return x + 0x3030303030303030 + letters*('a'-'0'-10)
}

// randomID is never zero, which is not a valid id.
func randomID() uint64 {
	for {
		if id := rand.Uint64(); id != 0 {
			return id
		}
	}
}

// normal takes a UUID, or up to size digits, and fills them up with leading zeros:
// implementations that print a number leave these out.
func normal(id string, size int) (string, bool) {
	if len(id) == 36 && id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-' {
		id = id[:8] + id[9:13] + id[14:18] + id[19:23] + id[24:]
		size = len(id)
	}
	if id == "" || len(id) > size {
		return "", false
	}
	zero, upper := true, false
	for i := range len(id) {
		c := id[i]
		switch {
		case c >= '0' && c <= '9' || c >= 'a' && c <= 'f':
		case c >= 'A' && c <= 'F':
			upper = true
		default:
			return "", false
		}
		zero = zero && c == '0'
	}
	if zero {
		return "", false
	}
	if upper {
		id = strings.ToLower(id)
	}
	return noTrace[:size-len(id)] + id, true
}
