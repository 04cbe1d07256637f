package synctest

import (
	"sync/atomic"
	"testing"
	"time"
)

// metronome tells how long the machine kept a goroutine waiting that only wanted
// to look at the clock: where that was much, nobody's times can be judged.
type metronome struct {
	began   time.Time
	stalled atomic.Int64
}

func startMetronome(t *testing.T) *metronome {
	const tick = 5 * time.Millisecond
	m := &metronome{began: time.Now()}
	ticker := time.NewTicker(tick)
	ended := make(chan struct{})
	t.Cleanup(func() { ticker.Stop(); close(ended) })
	go func() {
		for last := m.began; ; {
			select {
			case <-ended:
				return
			case <-ticker.C:
			}
			now := time.Now()
			if late := now.Sub(last) - tick; late > tick {
				m.stalled.Add(int64(late))
			}
			last = now
		}
	}()
	return m
}

// within fails the test when more than the bound has passed, or ten seconds more
// on a machine that stalled for a tenth of it.
func (m *metronome) within(t *testing.T, what string, bound time.Duration) {
	t.Helper()
	took, stalled := time.Since(m.began), time.Duration(m.stalled.Load())
	t.Logf("%s after %v, want at most %v; the machine stalled for %v", what, took, bound, stalled)
	if stalled > bound/10 {
		bound += 10 * time.Second
	}
	if took > bound {
		t.Errorf("%s after %v, want at most %v", what, took, bound)
	}
}
