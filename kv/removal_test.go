package kv_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micro/go-platform/internal/rpctest"
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
		c.Stable(0, 1, 2, 3, 4)
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
		c.Stable(0, 1, 2, 3, 4)
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

// Members that came since the last stable view, and that only one side reaches, do not
// make a majority of that side: the other may go on without it.
func TestJoinersDoNotOutvote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const suspicion = 2 * time.Second
		c := kv.NewCouncil(8, suspicion)
		c.Stable(0, 1, 2, 3, 4)
		side := func(i int) int { return min(i/5, 1) } // of the old ones all, and of those to come
		for range 20 {
			probeAll(c, side)
			time.Sleep(suspicion / 10)
		}
		side = func(i int) int { return map[int]int{2: 1, 3: 1, 4: 1}[i] }
		removed := make(map[string]bool)
		for range 60 {
			time.Sleep(suspicion / 10)
			for i := range c {
				gone := c.Bury(i)
				if side(i) == 0 && len(gone) > 0 {
					t.Fatalf("%d, of two that stayed and three that came, removes %v", i, gone)
				}
				for _, id := range gone {
					removed[id] = true
				}
			}
			probeAll(c, side)
		}
		if !removed["0"] || !removed["1"] {
			t.Errorf("three of five removed %v", removed)
		}
	})
}

// A member that both sides reach, and that reaches nobody, has not heard of either: it
// is no vote of the one for the removal of the other.
func TestWhoHearsNobodyHasNoVote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const suspicion = 2 * time.Second
		c := kv.NewCouncil(5, suspicion)
		c.Stable(0, 1, 2, 3, 4)
		probeAll(c, func(int) int { return 0 })
		for range 60 {
			time.Sleep(suspicion / 10)
			for i := range c {
				if gone := c.Bury(i); len(gone) > 0 {
					t.Fatalf("%d removes %v", i, gone)
				}
			}
			for from := range c {
				for to := range c {
					if from != to {
						c.Ask(from, to, from != 2 && (to == 2 || from/2 == to/2 || from > 2 && to > 2))
					}
				}
			}
		}
	})
}

// A member that said to one side that it has not heard of the other does not say the
// opposite to the other after a restart: what it said is forgotten, and binds.
func TestARestartIsNoSecondVote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const suspicion = 2 * time.Second
		c := kv.NewCouncil(5, suspicion)
		c.Stable(0, 1, 2, 3, 4)
		sides := []func(i int) int{
			func(int) int { return 0 }, func(i int) int { return i / 3 }, func(i int) int { return min(i/2, 1) },
		}
		removed := make([]bool, 2) // by the one side, and by the other
		for phase, side := range sides {
			if phase == 2 {
				c.Restart(2)
			}
			for range 30 {
				time.Sleep(suspicion / 10)
				for i := range c {
					if i != 2 && len(c.Bury(i)) > 0 {
						removed[i/3] = true
					}
				}
				probeAll(c, side)
			}
		}
		if !removed[0] || removed[1] {
			t.Errorf("removals by one side: %v, by the other: %v", removed[0], removed[1])
		}
	})
}

// One of three left, one died: who stays does not wait for ever, but asks the registry.
func TestTheLastOfThreeAsksTheRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const suspicion = 2 * time.Second
		c := kv.NewCouncil(3, suspicion)
		c.Stable(0, 1, 2)
		probeAll(c, func(int) int { return 0 })
		c.Leave(0)
		for range 20 {
			time.Sleep(suspicion / 10)
			c.Ask(2, 0, true)
			c.Ask(2, 1, false)
			if gone := c.Bury(2); len(gone) > 0 {
				t.Fatalf("it removes %v, which the registry has", gone)
			}
		}
		if gone := c.BuryWith(2, "2"); !slices.Equal(gone, []string{"1"}) {
			t.Errorf("it removes %v, want 1, which the registry has no more", gone)
		}
	})
}

// A view is not that of all without one that was removed after it was made.
func TestTheRemovedAreMissed(t *testing.T) {
	if before, after := kv.Voted(); before || after {
		t.Errorf("settled by two of three: %v, and when the third was removed: %v", before, after)
	}
}

// What a member that was removed keeps is of the past, whichever of its loops is the
// first to make the view anew.
func TestRemovedMeanwhile(t *testing.T) {
	c := newCluster(t, rpctest.GRPC)
	all := c.members(3)
	put(t, all[0], 2)
	rpctest.Eventually(t, "each has it", func() bool { return kv.Kept(all[0].KV, "key1") == "1" })
	kv.RemovedMeanwhile(all[0].KV)
	if kept := kv.Kept(all[0].KV, "key1"); kept != "" {
		t.Errorf("it keeps %q", kept)
	}
	for _, m := range all {
		kv.AwaitStable(t, m.KV, 3)
	}
	have(t, all[0], 2)
}
