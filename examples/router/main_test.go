package main

import (
	"context"
	"regexp"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	out := &rpctest.Buffer{Until: "for failing", Then: cancel}
	if err := run(ctx, memreg.New(), out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"nodes from the router-srv", `[1-9]\d* calls, \d+ failed`, "100.0 % went well", "success rate|failed in a row|for failing"} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
}
