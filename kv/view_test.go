package kv_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/micro/go-platform/kv"
)

// A member that lost a slot to this one, and gets it back from it before this one
// knew that it settled, has dropped what it had.
func TestHeirsOfWhatWentToAndFro(t *testing.T) {
	back := 0
	for i := range 20 {
		one, two := []string{"a"}, []string{"a", "b"}
		three := []string{"a", "b", fmt.Sprint("c", i)}
		second, third := kv.Owners(two, 1), kv.Owners(three, 1)
		for j := range 300 {
			key := fmt.Sprint(j)
			if two[second(key)[0]] != "b" || three[third(key)[0]] != "a" {
				continue
			}
			back++
			if heirs := kv.Heirs("b", 1, kv.SlotOf(key), one, two, three); !slices.Equal(heirs, []string{"a"}) {
				t.Fatalf("%v, %s: b hands it to %v, want a", three, key, heirs)
			}
		}
	}
	if back == 0 {
		t.Error("no key went to and fro")
	}
}

// Who is told that it is gone, and is not, comes back as another. Who leaves said
// so himself: as another it would be waited for once more.
func TestWhoLeavesIsNoOther(t *testing.T) {
	if kv.Reincarnated(true) || !kv.Reincarnated(false) {
		t.Error("incarnations")
	}
}
