package daemon

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
)

// ours begins the names of functions of this project.
const ours = "github.com/micro/go-platform/"

// strays handles what is written to slog's default logger. Lines of libraries
// below Error become debug ones: some write one for each bad request, which
// everybody can send.
type strays struct{ slog.Handler }

// Handle implements slog.Handler.
func (s strays) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelError && !isOurs(r.PC) {
		r.Level = min(r.Level, slog.LevelDebug)
		if !s.Enabled(ctx, r.Level) {
			return nil
		}
	}
	return s.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (s strays) WithAttrs(attrs []slog.Attr) slog.Handler { return strays{s.Handler.WithAttrs(attrs)} }

// WithGroup implements slog.Handler.
func (s strays) WithGroup(name string) slog.Handler { return strays{s.Handler.WithGroup(name)} }

func isOurs(pc uintptr) bool {
	if pc == 0 {
		return false
	}
	frame, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	return strings.HasPrefix(frame.Function, ours)
}

// takeStrays makes log slog's default until the returned function is called.
func takeStrays(log *slog.Logger) (restore func()) {
	before := slog.Default()
	slog.SetDefault(slog.New(strays{log.Handler()}))
	return func() { slog.SetDefault(before) }
}
