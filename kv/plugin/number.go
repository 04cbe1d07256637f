package plugin

import (
	"fmt"
	"strconv"

	"github.com/micro/go-platform/kv"
)

// Add returns the sum of an Incr, or kv.ErrInvalid when it is not an int64.
func Add(value int64, delta int64) (int64, error) {
	sum := value + delta
	if (sum > value) != (delta > 0) && delta != 0 {
		return 0, fmt.Errorf("%w: %d + %d is not an int64", kv.ErrInvalid, value, delta)
	}
	return sum, nil
}

// ParseNumber returns the number that Incr finds in a value, kv.ErrInvalid when
// it is none.
func ParseNumber(value []byte) (int64, error) {
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: the value is not a number", kv.ErrInvalid)
	}
	return n, nil
}
