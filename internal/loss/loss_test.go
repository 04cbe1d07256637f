package loss_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/micro/go-platform/internal/loss"
)

func TestReportLogsABurstOnce(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	var c loss.Counter
	report := func() { c.Report(log, "spans", "queue full") }

	report()
	if out.Len() != 0 {
		t.Fatalf("logged without a drop: %s", &out)
	}
	for range 5 {
		c.Add(3)
		report()
	}
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Fatalf("%d lines during the burst, want 1:\n%s", n, &out)
	}
	report()
	report()
	if n := strings.Count(out.String(), "\n"); n != 2 || !strings.Contains(out.String(), "dropped=15") {
		t.Fatalf("want a second line with dropped=15, got:\n%s", &out)
	}
	c.Add(1)
	report()
	if n := strings.Count(out.String(), "\n"); n != 3 {
		t.Fatalf("a new burst was not logged:\n%s", &out)
	}
	if c.Total() != 16 {
		t.Fatalf("total %d, want 16", c.Total())
	}
}
