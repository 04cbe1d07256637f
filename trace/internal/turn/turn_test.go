package turn_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micro/go-platform/internal/leak"
	"github.com/micro/go-platform/trace/internal/turn"
)

func TestMain(m *testing.M) { leak.Main(m) }

var errDown, errRefused = errors.New("down"), errors.New("refused")

func TestTheOneThatAnsweredIsTriedFirst(t *testing.T) {
	var turn turn.Turn
	down := map[int]bool{0: true, 1: true}
	var tried []int
	try := func() []error {
		tried = nil
		return turn.Try(t.Context(), 3, time.Second, func(_ context.Context, i int) error {
			if tried = append(tried, i); down[i] {
				return errDown
			}
			return nil
		})
	}
	for _, want := range [][]int{{0, 1, 2}, {2}} {
		if errs := try(); errs != nil || !slices.Equal(tried, want) {
			t.Errorf("tried %v, want %v: %v", tried, want, errs)
		}
	}
	down[2] = true
	if errs := try(); len(errs) != 3 || !slices.Equal(tried, []int{2, 0, 1}) {
		t.Errorf("tried %v: %v", tried, errs)
	}
}

func TestOneThatHangsLeavesTimeForTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var turn turn.Turn
		for range 2 { // the second batch does not wait for it
			begun := time.Now()
			errs := turn.Try(ctx, 2, time.Second, func(ctx context.Context, i int) error {
				if i == 0 {
					<-ctx.Done()
				}
				return ctx.Err()
			})
			if errs != nil || time.Since(begun) > 500*time.Millisecond {
				t.Errorf("%v after %v", errs, time.Since(begun))
			}
		}
	})
}

// A share is one of what is left: by the timeout, by the context, and after those who
// answered at once.
func TestSharesAreOfTheTimeThatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		for _, c := range []struct {
			ctx  context.Context
			took []time.Duration // of each collector; 0 hangs
			want []time.Duration
		}{
			{short, []time.Duration{0, 0}, []time.Duration{time.Second, time.Second}},
			{t.Context(), []time.Duration{time.Nanosecond, time.Nanosecond, 0}, []time.Duration{3 * time.Second, 4500 * time.Millisecond, 9 * time.Second}},
			{t.Context(), []time.Duration{0, 0, 0}, []time.Duration{3 * time.Second, 3 * time.Second, 3 * time.Second}},
		} {
			var turn turn.Turn
			var got []time.Duration
			turn.Try(c.ctx, len(c.took), 9*time.Second, func(ctx context.Context, i int) error {
				end, _ := ctx.Deadline()
				got = append(got, time.Until(end).Round(time.Microsecond))
				if c.took[i] == 0 {
					<-ctx.Done()
				}
				time.Sleep(c.took[i])
				return errDown
			})
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		}
	})
}

func TestForGoodIsWhatAllSay(t *testing.T) {
	for _, c := range []struct {
		errs []error
		want bool
	}{
		{[]error{errRefused, errRefused}, true},
		{[]error{errDown, errRefused}, false},
		{[]error{errRefused}, false}, // the other one was not asked
	} {
		if got := turn.All(c.errs, 2, errRefused); got != c.want {
			t.Errorf("%v: %v", c.errs, got)
		}
	}
}
