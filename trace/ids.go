package trace

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"
)

// The places of the parts in a version 00 traceparent,
// "00-<trace id>-<span id>-<flags>".
const (
	traceAt, traceEnd = 3, 35
	spanAt, spanEnd   = 36, 52
	flagAt            = 54
	traceparentLen    = 55
)

// newHeader returns a traceparent with a new span id, so that both ids and
// the header are one allocation. The ids need to be unique, not secret.
func newHeader(traceID string, high, low uint64, sampled bool) string {
	var b [traceparentLen]byte
	copy(b[:], "00-")
	if traceID != "" {
		copy(b[traceAt:traceEnd], traceID)
	} else {
		putHex(b[traceAt:], high)
		putHex(b[traceAt+16:], low)
	}
	b[traceEnd] = '-'
	putHex(b[spanAt:], randomID())
	copy(b[spanEnd:], "-00")
	if sampled {
		b[flagAt] = '1'
	}
	return string(b[:])
}

func putHex(to []byte, id uint64) {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], id)
	hex.Encode(to, raw[:])
}

// randomID is never zero, which is no valid id.
func randomID() uint64 {
	for {
		if id := rand.Uint64(); id != 0 {
			return id
		}
	}
}

// NormalTraceID returns the trace id in the form of Span.TraceId: 32
// hexadecimal digits in lower case. It also takes the 16 digits of older Zipkin
// libraries and the UUIDs of the original go-platform.
func NormalTraceID(id string) (string, bool) {
	id, ok := normal(id, 32)
	if !ok {
		return "", false
	}
	if len(id) == 16 {
		id = "0000000000000000" + id
	}
	return id, true
}

// NormalSpanID returns the span id in the form of Span.Id: 16 hexadecimal
// digits in lower case. Of a UUID, as the original go-platform wrote, it takes
// the first half: in its version 1 the second one names the machine.
func NormalSpanID(id string) (string, bool) {
	id, ok := normal(id, 16)
	if !ok || len(id) == 16 {
		return id, ok
	}
	return normal(id[:16], 16)
}

// normal takes size digits, 16 digits, or a UUID.
func normal(id string, size int) (string, bool) {
	if len(id) == 36 && id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-' {
		id = id[:8] + id[9:13] + id[14:18] + id[19:23] + id[24:]
		size = len(id)
	}
	if len(id) != size && len(id) != 16 {
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
	if upper {
		id = strings.ToLower(id)
	}
	return id, !zero
}
