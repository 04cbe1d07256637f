package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), backend.Zipkin(t).Addr, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "/zipkin/traces/") {
		t.Errorf("printed %q", out.String())
	}
	if err := run(t.Context(), "127.0.0.1:1", &out); err == nil {
		t.Error("spans were lost without an error")
	}
}
