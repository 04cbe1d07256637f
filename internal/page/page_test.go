package page_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

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
	all := make([]*wrapperspb.StringValue, 5)
	for i := range all {
		all[i] = wrapperspb.String(strings.Repeat("x", i))
	}
	for _, c := range []struct {
		limit, offset int64
		want          []*wrapperspb.StringValue
	}{
		{2, 0, all[:2]}, {2, 2, all[2:4]}, {2, 4, all[4:]}, {2, 5, nil}, {2, 6, nil}, {page.Max, 0, all},
		{page.Max, math.MaxInt64, nil},
	} {
		if got := page.Cut(all, c.limit, c.offset); !slices.Equal(got, c.want) {
			t.Errorf("limit %d, offset %d: got %v", c.limit, c.offset, got)
		}
	}
	if got := page.Cut(all[:0], 1, 0); len(got) != 0 {
		t.Errorf("got %v of nothing", got)
	}
}

// A page is no larger than a message may be, and never empty for that reason.
func TestFit(t *testing.T) {
	third, whole := wrapperspb.String(strings.Repeat("x", page.Bytes/3)), wrapperspb.String(strings.Repeat("x", 2*page.Bytes))
	for _, c := range []struct {
		all  []*wrapperspb.StringValue
		most int
		want int
	}{
		{nil, 5, 0}, {[]*wrapperspb.StringValue{third, third, third}, 5, 2}, {[]*wrapperspb.StringValue{third, third, third}, 1, 1},
		{[]*wrapperspb.StringValue{whole, third}, 5, 1}, {[]*wrapperspb.StringValue{third, whole}, 5, 1},
	} {
		if got := page.Fit(c.all, c.most); got != c.want {
			t.Errorf("%d of %d: got %d, want %d", c.most, len(c.all), got, c.want)
		}
	}
}
