package page_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/micro/go-platform/internal/page"
	"github.com/micro/go-platform/internal/rpcerr"
)

func TestWhatALimitMayBe(t *testing.T) {
	for _, c := range []struct{ limit, offset, want int64 }{
		{0, 0, page.Default}, {1, 5, 1}, {page.Max, 0, page.Max}, {page.Max + 1, 0, page.Max}, {math.MaxInt64, math.MaxInt64, page.Max},
	} {
		limit, offset := c.limit, c.offset
		if err := page.Check(&limit, &offset); err != nil || limit != c.want || offset != c.offset {
			t.Errorf("%+v: got %d, %d, %v", c, limit, offset, err)
		}
	}
	for _, c := range [][2]int64{{-1, 0}, {0, -1}, {math.MinInt64, math.MinInt64}} {
		if err := page.Check(&c[0], &c[1]); !errors.Is(err, rpcerr.ErrInvalid) {
			t.Errorf("%v: got %v", c, err)
		}
	}
}

func TestCut(t *testing.T) {
	all := []int{1, 2, 3, 4, 5}
	for _, c := range []struct {
		limit, offset int64
		want          []int
	}{
		{2, 0, all[:2]}, {2, 2, all[2:4]}, {2, 4, all[4:]}, {2, 5, nil}, {2, 6, nil}, {page.Max, 0, all},
		{page.Max, math.MaxInt64, nil},
	} {
		if got := page.Cut(all, c.limit, c.offset); !slices.Equal(got, c.want) {
			t.Errorf("limit %d, offset %d: got %v", c.limit, c.offset, got)
		}
	}
	if got := page.Cut([]int(nil), 1, 0); len(got) != 0 {
		t.Errorf("got %v of nothing", got)
	}
}
