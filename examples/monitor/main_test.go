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
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out := &screen{want: "example.greeter is DEGRADED, 1 of 2 ready", end: cancel}
	if err := run(ctx, memreg.New(), out); err != nil || !strings.Contains(out.String(), out.want) {
		t.Fatalf("%v\n%s", err, out)
	}
}
