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
	var out rpctest.Buffer
	if err := run(ctx, memreg.New(), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{
		`a canary of 20 %.* of 100 users (7|8)\d go to v1 and (1|2)\d to v2, testers to v2`,
		`out of service: of 100 users 100 go to v1 and 0 to v2, testers to v1`,
		`v2: 0.0 % \(rule stop: weight 0, priority 3\)`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %s in\n%s", want, &out)
		}
	}
}
