package kv_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/kv"
)

// Members leave while others read: what was acknowledged is found all the time.
func TestReadsWhileMembersLeave(t *testing.T) {
	for name, x := range map[string]struct {
		members, leave int
		opt            kv.Option
	}{
		"1 replica": {3, 1, kv.Replicas(1)}, "written to one": {4, 1, kv.Quorum(3, 1)}, "all owners": {6, 3, kv.Replicas(3)},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, rpctest.GRPC, x.opt, kv.Suspicion(5*time.Second))
			all := c.members(x.members)
			const items = 600
			put(t, all[0], items)
			stay, gone := all[x.leave:], make(chan struct{})
			var readers, leavers sync.WaitGroup
			var reads atomic.Int64
			for id := range 16 { // some wait for what is being handed over
				readers.Go(func() {
					pace := time.NewTicker(5 * time.Millisecond)
					defer pace.Stop()
					for i := id * 100; ; i += 7 {
						select {
						case <-gone:
							return
						case <-pace.C:
						}
						key := keyed(i % items)
						if item, err := stay[id%len(stay)].Get(key); err != nil || string(item.Value) != fmt.Sprint(i%items) {
							t.Errorf("%s: %+v, %v", key, item, err)
							return
						}
						reads.Add(1)
					}
				})
			}
			for _, m := range all[:x.leave] {
				leavers.Go(m.leave)
			}
			leavers.Wait()
			close(gone)
			readers.Wait()
			for _, m := range stay {
				kv.AwaitStable(t, m.KV, len(stay))
			}
			have(t, stay[0], items)
			t.Logf("%d reads", reads.Load())
		})
	}
}

// Members that left are not told of for ever, nor are more than some remembered.
func TestWhoLeftIsForgotten(t *testing.T) {
	c := newCluster(t, rpctest.GRPC, kv.Suspicion(200*time.Millisecond))
	k := c.member()
	for range 4 {
		m := c.member()
		kv.AwaitStable(t, k.KV, 2)
		m.leave()
		kv.AwaitStable(t, k.KV, 1)
	}
	rpctest.Eventually(t, "nobody is told of them", func() bool { return kv.Told(k.KV) == 0 })
	if n := kv.Known(k.KV); n != 4 {
		t.Errorf("%d remembered, want 4: they must not come back as they were", n)
	}
	kv.Left(k.KV, 5000)
	rpctest.Eventually(t, "most are forgotten", func() bool { return kv.Known(k.KV) <= 1000 })
}

// A member that was left alone does not answer from its memory, not even for the
// keys of which it is the only owner.
func TestTheOnlyOwnerRefusesWhenCutOff(t *testing.T) {
	all := newCluster(t, rpctest.GRPC, kv.Replicas(1), kv.Timeout(500*time.Millisecond)).members(3)
	put(t, all[0], 30)
	mine := ""
	for i := range 30 {
		if kv.Owned(keyed(i), all[0].KV) == 1 {
			mine = keyed(i)
		}
	}
	kv.Kill(all[1].KV)
	kv.Kill(all[2].KV)
	rpctest.Eventually(t, "it refuses", func() bool { _, err := all[0].Get(mine); return err != nil })
	for range 20 {
		if item, err := all[0].Get(mine, kv.WithContext(within(t, 20*time.Millisecond))); err == nil {
			t.Fatalf("%+v", item)
		}
		if item, err := all[0].Get(mine); err == nil {
			t.Fatalf("%+v", item)
		}
	}
	kv.Kill(all[0].KV) // no member is left that could take its items
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
