package kv_test

import (
	"fmt"
	"testing"

	"github.com/micro/go-platform/kv"
)

// Balance of 100 000 keys; the table of the README.
func TestBalance(t *testing.T) {
	const keys = 100_000
	for _, members := range []int{3, 10, 100} {
		for _, replicas := range []int{1, 3} {
			var names []string
			for i := range members {
				names = append(names, fmt.Sprintf("shop-%08x", i*2654435761))
			}
			owners, load := kv.Owners(names, replicas), make([]int, members)
			for i := range keys {
				seen := map[uint16]bool{}
				for _, o := range owners(fmt.Sprint("user:", i)) {
					load[o]++
					seen[o] = true
				}
				if len(seen) != replicas {
					t.Fatalf("%d members have key %d, want %d", len(seen), i, replicas)
				}
			}
			most := 0
			for _, n := range load {
				most = max(most, n)
			}
			ratio := float64(most*members) / float64(keys*replicas)
			t.Logf("%3d members, %d replicas: the most loaded has %.3f of the mean", members, replicas, ratio)
			if ratio > 1.25 {
				t.Errorf("%d members, %d replicas: %.3f of the mean, want 1.25 at most", members, replicas, ratio)
			}
		}
	}
}

func TestFewKeysMoveWhenAMemberJoins(t *testing.T) {
	var names []string
	for i := range 11 {
		names = append(names, fmt.Sprint("member", i))
	}
	before, after, moved := kv.Owners(names[:10], 1), kv.Owners(names, 1), 0
	for i := range 10_000 {
		if key := fmt.Sprint(i); before(key)[0] != after(key)[0] {
			moved++
		}
	}
	if moved > 3000 { // 909 if nothing moved between the others
		t.Errorf("%d of 10000 keys moved", moved)
	}
}

func BenchmarkRing(b *testing.B) {
	for _, members := range []int{3, 10, 100} {
		var names []string
		for i := range members {
			names = append(names, fmt.Sprint("member", i))
		}
		owners := kv.Owners(names, 3)
		b.Run(fmt.Sprint("lookup/", members), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				owners("user:12345")
			}
		})
		b.Run(fmt.Sprint("build/", members), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				kv.Owners(names, 3)
			}
		})
	}
}
