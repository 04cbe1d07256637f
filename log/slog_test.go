package log_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/micro/go-platform/internal/spanctx"
	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/log/logtest"
	"github.com/micro/go-platform/log/recorder"
)

// nested makes of an event what slogtest wants to see of a record.
func nested(e *log.Event) map[string]any {
	m := map[string]any{slog.LevelKey: e.Level.String(), slog.MessageKey: e.Message}
	if e.Timestamp != 0 {
		m[slog.TimeKey] = time.Unix(0, e.Timestamp)
	}
	for name, v := range e.Fields {
		at, parts := m, strings.Split(name, ".")
		for _, group := range parts[:len(parts)-1] {
			if at[group] == nil {
				at[group] = map[string]any{}
			}
			at = at[group].(map[string]any)
		}
		at[parts[len(parts)-1]] = v
	}
	return m
}

func TestSlogHandler(t *testing.T) {
	var rec *recorder.Output
	slogtest.Run(t, func(*testing.T) slog.Handler {
		rec = recorder.NewOutput()
		return log.NewSlogHandler(log.NewLog(log.WithOutput(rec)))
	}, func(t *testing.T) map[string]any {
		events := rec.Events()
		if len(events) != 1 {
			t.Fatalf("%d events", len(events))
		}
		return nested(events[0])
	})
}

type span struct{}

func (span) SpanIDs() (string, string) { return "t", "s" }

type panicker struct{}

func (*panicker) LogValue() slog.Value { panic("no value") }

func TestSlogLevelsValuesAndSpan(t *testing.T) {
	rec := recorder.NewOutput()
	l := log.NewLog(log.WithOutput(rec), log.WithRedact("token"), log.WithFields(log.Fields{"service": "s"}))
	s := slog.New(log.NewSlogHandler(l))
	if s.Enabled(context.Background(), slog.LevelDebug) {
		t.Error("debug is on")
	}
	s.Debug("no")
	ctx := spanctx.With(context.Background(), span{})
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	s.With("token", "x").WithGroup("g").Log(ctx, slog.LevelError+4, "m",
		"err", errors.New("broken"), "at", at, "d", time.Second, "bad", &panicker{}, "", 7, "token", "y")
	e := rec.Events()[0]
	if e.Level != log.ErrorLevel {
		t.Errorf("level %v", e.Level)
	}
	for k, want := range map[string]string{
		"service": "s", "token": "[redacted]", "g.token": "[redacted]", "g.err": "broken", "g.d": "1s", "g.": "7",
		"g.at": at.Format(time.RFC3339Nano), log.TraceField: "t", log.SpanField: "s",
	} {
		if e.Fields[k] != want {
			t.Errorf("%s: got %q, want %q", k, e.Fields[k], want)
		}
	}
	if !strings.Contains(e.Fields["g.bad"], "panic") {
		t.Errorf("a LogValue that panics became %q", e.Fields["g.bad"])
	}
}

// events is a slog handler that makes events of records.
type events struct{ to *recorder.Output }

func (events) Enabled(context.Context, slog.Level) bool { return true }
func (h events) WithAttrs([]slog.Attr) slog.Handler     { return h }
func (h events) WithGroup(string) slog.Handler          { return h }

func (h events) Handle(_ context.Context, r slog.Record) error {
	e := &log.Event{
		Level:     log.Level(r.Level/4) + log.InfoLevel,
		Timestamp: r.Time.UnixNano(),
		Message:   r.Message,
		Fields:    log.Fields{},
	}
	r.Attrs(func(a slog.Attr) bool {
		e.Fields[a.Key] = a.Value.String()
		return true
	})
	return h.to.Send(e)
}

func TestSlogOutput(t *testing.T) {
	logtest.RunOutput(t, func(testing.TB) logtest.Fixture {
		rec := recorder.NewOutput()
		return logtest.Fixture{Output: log.NewSlogOutput(events{rec}), Read: rec.Events}
	})
}
