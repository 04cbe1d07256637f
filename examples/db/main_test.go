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
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out strings.Builder
	if err := run(ctx, memreg.New(), "sqlite::memory:", &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	const want = "the clerks sold 10 of 10 apples\norder more: Pear, 3 left\norder more: Apple, 0 left\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
