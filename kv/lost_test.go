package kv_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/kv"
)

// Stop counts once the items that only this member had and no other took. Items
// that others have as well are not lost.
func TestStopSaysWhatIsLost(t *testing.T) {
	for name, x := range map[string]struct {
		members, replicas int
		alone             bool
	}{
		"only copy": {2, 1, true}, "one of three": {3, 3, false},
	} {
		t.Run(name, func(t *testing.T) {
			all := newCluster(t, rpctest.GRPC, kv.Replicas(x.replicas)).members(x.members)
			put(t, all[0], 50)
			mine := 0
			for i := range 50 {
				mine += kv.Owned(fmt.Sprint("key", i), all[0].KV)
			}
			for _, m := range all[1:] {
				kv.Kill(m.KV)
			}
			err := all[0].Stop()
			switch {
			case !x.alone:
				if err != nil {
					t.Error(err)
				}
			case !errors.Is(err, kv.ErrLost) || err.Error() != fmt.Sprintf("kv: lost %d items: not handed over in 2s", mine):
				t.Errorf("%v, want the loss of %d items", err, mine)
			}
			if err := all[0].Stop(); err != nil {
				t.Errorf("the second Stop: %v", err)
			}
		})
	}
}
