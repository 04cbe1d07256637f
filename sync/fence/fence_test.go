package fence_test

import (
	"errors"
	"testing"

	"github.com/micro/go-platform/sync/fence"
)

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
