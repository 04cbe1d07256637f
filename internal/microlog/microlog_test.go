package microlog_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/micro/go-platform/internal/microlog"
	"go-micro.dev/v6/logger"
)

func TestLevelsAndFields(t *testing.T) {
	var out bytes.Buffer
	log := microlog.New(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo})))
	log.Log(logger.InfoLevel, "chatter")
	log.Logf(logger.WarnLevel, "registry %s", "slow")
	log.Fields(map[string]any{"node": "n1"}).Log(logger.ErrorLevel, "gone")
	got := out.String()
	for _, want := range []string{`level=WARN msg="registry slow"`, "level=ERROR msg=gone node=n1"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %s:\n%s", want, got)
		}
	}
	if strings.Contains(got, "chatter") {
		t.Errorf("go-micro's chatter is not debug:\n%s", got)
	}
}
