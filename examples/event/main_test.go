package main

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

// screen is what both notifiers print to.
type screen struct {
	mu sync.Mutex
	strings.Builder
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Builder.Write(p)
}

func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	out := &screen{}
	if err := run(ctx, memreg.New(), 50, out); err != nil || !strings.Contains(out.String(), "50 of 50 orders handled") {
		t.Fatalf("%v\n%s", err, out)
	}
}
