package kv_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/kv"
)

// A full member evicts what was not used for longest, and counts it.
func TestEviction(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			all := newCluster(t, rpctest.GRPC, kv.MaxBytes(100_000)).members(n)
			k := all[0]
			if err := k.Put(&kv.Item{Key: "hot", Value: []byte("value")}); err != nil {
				t.Fatal(err)
			}
			const items = 800 // of about 300 bytes
			for i := range items {
				if err := k.Put(&kv.Item{Key: fmt.Sprint("cold", i), Value: make([]byte, 100)}); err != nil {
					t.Fatal(err)
				}
				if i%50 > 0 {
					continue
				}
				if item, err := k.Get("hot"); err != nil || string(item.Value) != "value" {
					t.Fatalf("after %d: %+v, %v", i, item, err)
				}
			}
			if _, err := k.Get("cold0"); !errors.Is(err, kv.ErrNotFound) {
				t.Errorf("the oldest: %v", err)
			}
			if _, err := k.Get(fmt.Sprint("cold", items-1)); err != nil {
				t.Errorf("the newest: %v", err)
			}
			for _, m := range all { // each has a copy of all
				dropped := m.KV.(interface{ Dropped() uint64 }).Dropped
				rpctest.Eventually(t, "what was written last arrives", func() bool { return dropped() >= items-100_000/300 })
				if dropped() > items {
					t.Errorf("%d of %d dropped", dropped(), items)
				}
			}
		})
	}
}
