package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func TestRun(t *testing.T) {
	for name, reg := range map[string]registry.Registry{"memory": memreg.New(), "standalone": nil} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			out := &rpctest.Buffer{Until: "nodes: three\n", Then: cancel}
			err := run(ctx, reg, out)
			if err != nil || !strings.Contains(out.String(), out.Until) || !strings.Contains(out.String(), "nodes: three two\n") {
				t.Fatalf("%v\n%s", err, out)
			}
			if n := strings.Count(out.String(), ", failed "); n == 0 || n != strings.Count(out.String(), ", failed 0 |") {
				t.Errorf("calls failed:\n%s", out)
			}
		})
	}
}
