package batch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micro/go-platform/internal/batch"
	"github.com/micro/go-platform/internal/lifecycle"
)

func TestWhatCanNeverBeSentIsDroppedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{}
		var sends atomic.Int64
		q := newQueue(t, s, func(c *batch.Config[int]) {
			c.Size = 32
			c.Send = func(ctx context.Context, items []int) error {
				sends.Add(1)
				if slices.Contains(items, 35) {
					panic("35")
				}
				if slices.Contains(items, 3) || slices.Contains(items, 31) {
					return fmt.Errorf("no place for 3 and 31: %w", batch.ErrNever)
				}
				return s.send(ctx, items)
			}
		})
		if err := q.Start(); err != nil {
			t.Fatal(err)
		}
		for n := range 40 {
			if err := q.Add(n); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.Flush(t.Context()); err != nil {
			t.Errorf("flush: %v", err)
		}
		if s.count() != 37 || q.Dropped() != 3 || sends.Load() > 40 {
			t.Errorf("%d arrived, %d dropped, in %d sends", s.count(), q.Dropped(), sends.Load())
		}
		if !slices.IsSorted(s.got) {
			t.Errorf("out of order: %v", s.got)
		}
		if err := q.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
}

func TestStopTellsWhatItCanNeverSend(t *testing.T) {
	q := batch.New(batch.Config[int]{Name: "items", Interval: time.Hour, Send: func(_ context.Context, items []int) error {
		if slices.Contains(items, 3) {
			return fmt.Errorf("%w: a three", batch.ErrNever)
		}
		return nil
	}})
	start(t, q)
	add(t, q, 9)
	if err := q.Stop(); !errors.Is(err, lifecycle.ErrLost) || err.Error() != "lost 1 item: can never be sent: a three" || q.Dropped() != 1 {
		t.Errorf("got %v, %d dropped", err, q.Dropped())
	}
}
