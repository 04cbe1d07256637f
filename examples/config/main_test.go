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
	err := run(ctx, memreg.New(), &out)
	for _, want := range []string{
		"after a change:", "after a change of the log level:", "taken back by itself:", "after a rollback:",
		"rollout greeting by anonymous", "abort  by go.micro.srv.config", "calls failed on instances with the change",
	} {
		if err != nil || !strings.Contains(out.String(), want) {
			t.Fatalf("%q is missing: %v\n%s", want, err, &out)
		}
	}
}
