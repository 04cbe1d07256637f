package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	out := &rpctest.Buffer{Until: "example.greeter is DEGRADED, 1 of 2 ready", Then: cancel}
	if err := run(ctx, memreg.New(), out); err != nil || !strings.Contains(out.String(), out.Until) {
		t.Fatalf("%v\n%s", err, out)
	}
}
