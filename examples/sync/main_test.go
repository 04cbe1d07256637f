package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	newSync, err := choose("memory", "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, newSync, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"worker-1", "worker-2", "worker-3", "entry 3", "late entry refused: stale fencing token"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
	if _, err := choose("zookeeper", ""); err == nil {
		t.Error("an unknown backend was accepted")
	}
}
