package kvtest

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/micro/go-platform/kv"
)

// A counter ends when it was to, however often it is incremented, and begins
// again at 0: each sum is returned to one caller.
func testCounterEnds(t *testing.T, n New) {
	k, key, ttl := n.Start(t), Fresh(), time.Second
	put(t, k, key, "1000", ttl)
	end := time.Now().Add(ttl + 5*time.Millisecond) // for what is rounded up on the way
	var mu sync.Mutex
	var sums []int64
	parallel(t, 4, func(int) error {
		for sum := int64(1000); sum >= 1000; {
			var err error
			if sum, err = k.(kv.Counter).Incr(key, 1); err != nil {
				return err
			}
			mu.Lock()
			sums = append(sums, sum)
			mu.Unlock()
			now := time.Now()
			if item, err := k.Get(key); err == nil && item.Expiration > max(end.Sub(now), 0) {
				t.Errorf("%d: %v left, want at most %v", sum, item.Expiration, end.Sub(now))
				return nil
			}
			if now.After(end.Add(5 * time.Second)) {
				return errors.New("it did not end")
			}
		}
		return nil
	})
	slices.Sort(sums)
	for i, sum := range sums {
		if i > 0 && sum == sums[i-1] {
			t.Errorf("two were told %d", sum)
		}
	}
	if sums[0] != 1 {
		t.Errorf("the first after the end was told %d", sums[0])
	}
}

// Of a put that expires and a touch that makes what is there stay, either the
// touch found nothing or what was put stays.
func testTouchAndPut(t *testing.T, k kv.KV) {
	for range 50 {
		key, touched := Fresh(), error(nil)
		parallel(t, 2, func(i int) error {
			if i == 0 {
				return k.Put(&kv.Item{Key: key, Value: []byte("v"), Expiration: time.Hour})
			}
			touched = k.(kv.Toucher).Touch(key, 0)
			return nil
		})
		left := want(t, k, key, "v").Expiration
		if touched == nil && left != 0 || touched != nil && (left == 0 || !errors.Is(touched, kv.ErrNotFound)) {
			t.Fatalf("touch: %v, %v left", touched, left)
		}
	}
}
