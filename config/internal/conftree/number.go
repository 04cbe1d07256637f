package conftree

import (
	"encoding/json"
	"math"
	"strconv"
)

// Number is a number together with the text that it was written as: 1.10 may be a
// version, and 0755 a mode. Numbers are equal when their texts are.
type Number struct{ text, json string }

// String returns the text as it was written. For numbers of Go, which have none, it
// returns the shortest.
func (n Number) String() string { return n.text }

// JSON returns the number as JSON writes it.
func (n Number) JSON() string { return n.json }

// MarshalJSON implements json.Marshaler.
func (n Number) MarshalJSON() ([]byte, error) { return []byte(n.json), nil }

// Int64 returns the number, and whether it is a whole number that fits.
func (n Number) Int64() (int64, bool) { return Int64(n.json) }

// Native returns an int64 if the number fits, else a uint64 if it fits, else a
// float64.
func (n Number) Native() any {
	if i, ok := n.Int64(); ok {
		return i
	}
	if u, ok := Uint64(n.json); ok {
		return u
	}
	f, _ := Float64(n.json) // checked when it was read
	return f
}

// number returns the number that JSON writes as s.
func number(s string) (any, error) {
	if _, ok := Float64(s); !ok {
		return nil, invalid("number %.32s is out of range", s)
	}
	return Number{s, s}, nil
}

// float returns the number of a float64.
func float(f float64) (any, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, invalid("a number is not finite")
	}
	s, err := json.Marshal(f)
	return Number{string(s), string(s)}, err
}

// Int64 converts the text of a whole number, as 42, 1e3 and 2.0.
func Int64(s string) (int64, bool) {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i, true
	}
	f, ok := Float64(s)
	// 2^63 is a float64, the largest int64 is not.
	return int64(f), ok && f == math.Trunc(f) && f >= math.MinInt64 && f < -math.MinInt64
}

// Uint64 converts the text of a whole number from 0 on.
func Uint64(s string) (uint64, bool) {
	if u, err := strconv.ParseUint(s, 10, 64); err == nil {
		return u, true
	}
	i, ok := Int64(s)
	return uint64(max(i, 0)), ok && i >= 0
}

// Float64 converts the text of a finite decimal number.
func Float64(s string) (float64, bool) {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && c != '+' && c != '-' && c != '.' && c != 'e' && c != 'E' {
			return 0, false // neither Inf nor hexadecimal
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}
