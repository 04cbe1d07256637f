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
	if err := run(ctx, memreg.New(), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{
		"opened: one has 10 streams, two 10, three 10", "one drains: one has 10 streams", "one stopped: one has 0 streams, two 15, three 15",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}
