package option_test

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/internal/rpcerr"
)

func TestWords(t *testing.T) {
	c := option.Of("kv")
	c.Positive("Timeout", -time.Second)
	c.Positive("Interval", time.Second)
	option.Within(c, "Replicas", 10, 1, 9)
	option.Within(c, "Ratio", math.NaN(), 0, 1)
	option.AtLeast(c, "Suspicion", time.Millisecond, 100*time.Millisecond)
	c.That(false, "Servers", "%q is not host:port", "x")
	err := c.Err()
	const want = `kv: option Timeout: -1s is not positive
kv: option Replicas: 10 is not within 1 to 9
kv: option Ratio: NaN is not within 0 to 1
kv: option Suspicion: 1ms is less than 100ms
kv: option Servers: "x" is not host:port`
	if err == nil || err.Error() != want {
		t.Errorf("%v\nwant\n%s", err, want)
	}
	if !errors.Is(err, rpcerr.ErrInvalid) {
		t.Error("not an ErrInvalid")
	}
	if err := option.Of("kv").Err(); err != nil {
		t.Error(err)
	}
}

func TestApply(t *testing.T) {
	type opt func(*[]int)
	add := func(n int) opt { return func(o *[]int) { *o = append(*o, n) } }
	var o []int
	option.Apply(&o, []opt{nil, add(1), nil, add(2)})
	if !slices.Equal(o, []int{1, 2}) {
		t.Errorf("applied %v, want 1 and 2", o)
	}
}
