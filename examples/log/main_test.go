package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/micro/go-platform/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m, goleak.IgnoreCurrent()) }

func TestRun(t *testing.T) {
	var out bytes.Buffer
	path := filepath.Join(t.TempDir(), "log.json")
	if err := run(context.Background(), config{"debug", path, time.Millisecond, 2 * time.Second}, &out); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil || bytes.Count(data, []byte("\n")) != strings.Count(out.String(), "\n") {
		t.Errorf("%v: the file and the screen differ", err)
	}
	for _, want := range []string{"order accepted", `"card":"[redacted]"`, `"item.id":"1"`, "stopped after"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("no %s", want)
		}
	}
	if err := run(context.Background(), config{level: "loud"}, &out); err == nil {
		t.Error("level loud is taken")
	}
}
