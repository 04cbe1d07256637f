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
		"gateway: shop.gateway ordered a book", "guest: refused (forbidden true", `denied by rule \"no-guests\"`, "gateway: refused (forbidden false, bad token true)", "its account was deleted",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
}
