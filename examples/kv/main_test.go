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
	var out rpctest.Buffer
	if err := run(ctx, memreg.New(), &out); err != nil || !strings.Contains(out.String(), "100 sessions are still there") {
		t.Fatalf("%v\n%s", err, &out)
	}
}
