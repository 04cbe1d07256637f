package backoff_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/backoff"
)

func TestNextStaysWithinItsBounds(t *testing.T) {
	b := backoff.Backoff{Min: time.Millisecond, Max: 8 * time.Millisecond}
	bounds := []time.Duration{1, 2, 4, 8, 8, 8}
	for i, bound := range bounds {
		if d := b.Next(); d <= 0 || d > bound*time.Millisecond+1 {
			t.Errorf("wait %d is %v, want in (0, %d ms]", i, d, bound)
		}
	}
	for range 100 {
		if d := b.Next(); d > b.Max+1 {
			t.Fatalf("wait %v exceeds Max", d)
		}
	}
	b.Reset()
	if d := b.Next(); d > b.Min+1 {
		t.Fatalf("wait after Reset is %v, want at most Min", d)
	}
}

func TestWaitEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b := backoff.Backoff{Min: time.Hour, Max: time.Hour}
	if err := b.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
}
