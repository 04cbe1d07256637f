package records

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"unicode/utf8"

	"github.com/micro/go-platform/db/internal/srv/driver"
	pb "github.com/micro/go-platform/db/proto"
)

// A term begins with the kind of its value; the order of these letters is the
// order of the kinds.
const (
	kindBool   = "b"
	kindNumber = "n"
	kindText   = "s"
)

// term returns a value in the form that every database can compare.
func term(v *pb.Value) string {
	switch k := v.Kind.(type) {
	case *pb.Value_Flag:
		if k.Flag {
			return kindBool + "1"
		}
		return kindBool + "0"
	case *pb.Value_Integer:
		f := float64(k.Integer)
		return kindNumber + number(f, residual(k.Integer, f))
	case *pb.Value_Real:
		return kindNumber + number(k.Real, 0)
	}
	return kindText + v.GetText()
}

// number orders integers and floats together and loses nothing: first comes the
// nearest float, then how far off it is. Rounding is monotone, so an integer
// and a float that round to different floats are ordered by these; of those that
// do not, the float is exact. The bits of a float are in order once the sign bit
// is turned, and all bits of negative ones.
func number(f float64, off int16) string {
	if f == 0 {
		f = 0 // -0 too
	}
	bits := math.Float64bits(f)
	if bits>>63 == 1 {
		bits = ^bits
	} else {
		bits |= 1 << 63
	}
	var b [10]byte
	binary.BigEndian.PutUint64(b[:], bits)
	binary.BigEndian.PutUint16(b[8:], uint16(off)^1<<15)
	return hex.EncodeToString(b[:])
}

// residual is i - f, at most 512 either way.
func residual(i int64, f float64) int16 {
	if f == 1<<63 { // beyond every int64
		return int16(i - math.MaxInt64 - 1)
	}
	return int16(i - int64(f))
}

// condition turns a comparison into bounds.
func condition(key string, op pb.Condition_Op, v *pb.Value) driver.Condition {
	t := term(v)
	next := t + "\x00" // nothing comes in between
	c := driver.Condition{Key: key, Low: t[:1], High: successor(t[:1])}
	switch op {
	case pb.Condition_EQUAL:
		c.Low, c.High, c.Exact = t, next, true
	case pb.Condition_LESS:
		c.High = t
	case pb.Condition_AT_MOST:
		c.High = next
	case pb.Condition_GREATER:
		c.Low = next
	case pb.Condition_AT_LEAST:
		c.Low = t
	case pb.Condition_PREFIX:
		c.Low, c.High = t, successor(t)
	}
	return c
}

// successor is the least text that is greater than every text with the prefix.
// The order of UTF-8's bytes is that of its characters.
func successor(prefix string) string {
	for {
		r, size := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-size]
		switch r {
		case utf8.MaxRune:
			continue // nothing follows it: the character before must
		case 0xD7FF:
			r = 0xE000 // surrogates are not characters
		default:
			r++
		}
		return prefix + string(r)
	}
}
