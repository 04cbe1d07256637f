package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"go-micro.dev/v5/registry"

	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

// screen ends the program once it printed what is wanted.
type screen struct {
	strings.Builder
	want string
	end  func()
}

func (s *screen) Write(p []byte) (int, error) {
	defer func() {
		if strings.Contains(s.String(), s.want) {
			s.end()
		}
	}()
	return s.Builder.Write(p)
}

func TestRun(t *testing.T) {
	for name, reg := range map[string]registry.Registry{"memory": memreg.New(), "standalone": nil} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
			defer cancel()
			out := &screen{want: "nodes: three\n", end: cancel}
			err := run(ctx, reg, out)
			if err != nil || !strings.Contains(out.String(), out.want) || !strings.Contains(out.String(), "nodes: three two\n") {
				t.Fatalf("%v\n%s", err, out)
			}
			if n := strings.Count(out.String(), ", failed "); n == 0 || n != strings.Count(out.String(), ", failed 0 |") {
				t.Errorf("calls failed:\n%s", out)
			}
		})
	}
}
