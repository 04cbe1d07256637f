package jwt_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/micro/go-platform/auth/internal/jwt"
)

// Of tokens that end alike, and so share a place, each keeps its own entry, the
// last that was put.
func TestCacheTellsTokensApart(t *testing.T) {
	c := jwt.NewCache[int](100)
	name := func(i int) string { return fmt.Sprint(i, "-the same end") }
	for round := range 3 {
		for i := range 50 {
			c.Put(name(i), i*10+round)
		}
		for i := range 50 {
			if v, ok := c.Get(name(i)); !ok || v != i*10+round {
				t.Fatalf("%d: %d, %v", i, v, ok)
			}
		}
	}
	c.Remove(name(3))
	if _, ok := c.Get(name(3)); ok {
		t.Error("removed")
	}
	c.Remove(name(49)) // the last put
	if _, ok := c.Get(name(49)); ok {
		t.Error("removed")
	}
	for _, short := range []string{"", "a", "abcdefg"} {
		c.Put(short, 7)
		if v, ok := c.Get(short); !ok || v != 7 {
			t.Errorf("%q: %d, %v", short, v, ok)
		}
	}
}

// A verdict that was replaced is not given again.
func TestCacheIsOrdered(t *testing.T) {
	c := jwt.NewCache[int](4)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			token := fmt.Sprint("token-", g, "-and a signature")
			for i := range 5_000 {
				c.Put(token, i)
				if v, ok := c.Get(token); ok && v != i {
					t.Errorf("got %d after %d", v, i)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkCache(b *testing.B) {
	c := jwt.NewCache[int](4096)
	for i := range 100 {
		c.Put(fmt.Sprintf("%0700d-%08d", i, i*7919), i)
	}
	token := fmt.Sprintf("%0700d-%08d", 50, 50*7919)
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.Get(token)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				c.Get(token)
			}
		})
	})
}
