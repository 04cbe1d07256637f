package kv_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/micro/go-platform/kv"
)

// probeAll is a round of probes: those of one side answer each other.
func probeAll(c kv.Council, side func(i int) int) {
	for from := range c {
		for to := range c {
			if from != to {
				c.Ask(from, to, side(from) == side(to))
			}
		}
	}
}

// On a busy machine one member of the larger side answers the smaller one last,
// just before the cut. When the rest of its side has been silent for long enough,
// it has not: it is not a third vote for their removal.
func TestTheSmallerSideRemovesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const suspicion = 2 * time.Second
		c := kv.NewCouncil(5, suspicion)
		for range 20 {
			probeAll(c, func(int) int { return 0 })
			time.Sleep(suspicion / 10)
		}
		for _, i := range []int{0, 1} {
			c.Ask(i, 2, true)
		}
		removed := 0
		for range 300 {
			time.Sleep(suspicion / 100)
			for i := range c {
				gone := c.Bury(i)
				if i < 2 && len(gone) > 0 {
					t.Fatalf("%d of the smaller side removes %v", i, gone)
				}
				removed += len(gone)
			}
			probeAll(c, func(i int) int { return min(i/2, 1) })
		}
		if removed == 0 {
			t.Error("the larger side removes nobody")
		}
	})
}

// Who removed two of five goes on with the two that stay, and not with one of
// them: the other may go on with the two that were removed.
func TestTheLeaseCountsTheRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const suspicion = 2 * time.Second
		c := kv.NewCouncil(5, suspicion)
		side := func(int) int { return 0 }
		for round := range 60 {
			if round == 20 {
				side = func(i int) int { return i / 3 } // 3 and 4 are slow
			}
			time.Sleep(suspicion / 10)
			for i := range c {
				if gone := c.Bury(i); i >= 3 && len(gone) > 0 {
					t.Fatalf("%d removes %v", i, gone)
				}
			}
			probeAll(c, side)
		}
		if left := c.Left(0); left <= suspicion/2 {
			t.Errorf("three of five: %v", left)
		}
		for range 10 {
			time.Sleep(suspicion / 10)
			c.Ask(0, 1, true)
			c.Ask(1, 0, true)
		}
		if left := c.Left(0); left > 0 {
			t.Errorf("two of five: %v", left)
		}
	})
}
