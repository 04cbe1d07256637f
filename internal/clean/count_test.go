package clean_test

import (
	"testing"

	"github.com/micro/go-platform/internal/clean"
)

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 records", 1: "1 record", 2: "2 records"} {
		if got := clean.Count(n, "record"); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
