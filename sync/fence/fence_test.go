package fence_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/sync/fence"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func TestGuard(t *testing.T) {
	g := fence.At(5)
	done := 0
	do := func() error { done++; return nil }
	for _, step := range []struct {
		token uint64
		ok    bool
	}{{4, false}, {5, true}, {5, true}, {9, true}, {8, false}, {9, true}} {
		err := g.Do(step.token, do)
		if (err == nil) != step.ok || err != nil && !errors.Is(err, fence.ErrStale) {
			t.Errorf("token %d: %v", step.token, err)
		}
	}
	if done != 4 || g.Highest() != 9 {
		t.Errorf("done %d, highest %d", done, g.Highest())
	}
	broken := errors.New("disk full")
	if err := g.Do(10, func() error { return broken }); !errors.Is(err, broken) || g.Highest() != 10 {
		t.Errorf("%v, highest %d", err, g.Highest())
	}
}

// FuzzGuard: whatever comes, what is done is in the order of its tokens, and
// nothing is refused without a reason.
func FuzzGuard(f *testing.F) {
	f.Add([]byte{1, 2, 1, 255, 0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, tokens []byte) {
		var g fence.Guard
		var highest uint64
		for _, b := range tokens {
			token := uint64(b) << (b % 57) // up to the highest bits
			err := g.Do(token, func() error { return nil })
			if stale := token < highest; stale != errors.Is(err, fence.ErrStale) || !stale && err != nil {
				t.Fatalf("token %d after %d: %v", token, highest, err)
			}
			highest = max(highest, token)
			if g.Highest() != highest {
				t.Fatalf("highest %d, want %d", g.Highest(), highest)
			}
		}
	})
}

func TestGuardWithManyWriters(t *testing.T) {
	var g fence.Guard
	var last uint64 // guarded by g
	var inside atomic.Int32
	var wg sync.WaitGroup
	for writer := range 8 {
		wg.Go(func() {
			for i := range uint64(500) {
				token := i*3 + uint64(writer)
				_ = g.Do(token, func() error { // a stale one is refused
					if inside.Add(1) != 1 || token < last {
						t.Errorf("token %d after %d, or two at once", token, last)
					}
					last = token
					inside.Add(-1)
					return nil
				})
			}
		})
	}
	wg.Wait()
	if g.Highest() != 499*3+7 {
		t.Errorf("highest %d", g.Highest())
	}
}
