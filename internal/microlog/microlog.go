// Package microlog writes go-micro's own log lines to a slog.Logger, so that a
// process has one log. go-micro's informational chatter becomes debug lines.
package microlog

import (
	"context"
	"fmt"
	"log/slog"

	"go-micro.dev/v6/logger"
)

// New returns a go-micro logger that writes to log.
func New(log *slog.Logger) logger.Logger { return &adapter{log: log} }

type adapter struct {
	log     *slog.Logger
	options logger.Options
}

func (a *adapter) Init(opts ...logger.Option) error {
	for _, o := range opts {
		o(&a.options)
	}
	return nil
}

func (a *adapter) Options() logger.Options { return a.options }

func (a *adapter) Fields(fields map[string]any) logger.Logger {
	args := make([]any, 0, 2*len(fields))
	for k, v := range fields {
		args = append(args, k, v)
	}
	return &adapter{log: a.log.With(args...), options: a.options}
}

func (a *adapter) Log(level logger.Level, v ...any) { a.write(level, fmt.Sprint(v...)) }

func (a *adapter) Logf(level logger.Level, format string, v ...any) {
	if a.log.Enabled(context.Background(), slogLevel(level)) {
		a.write(level, fmt.Sprintf(format, v...))
	}
}

func (a *adapter) write(level logger.Level, message string) {
	a.log.Log(context.Background(), slogLevel(level), message)
}

func (a *adapter) String() string { return "slog" }

func slogLevel(level logger.Level) slog.Level {
	switch {
	case level <= logger.InfoLevel:
		return slog.LevelDebug
	case level == logger.WarnLevel:
		return slog.LevelWarn
	default:
		return slog.LevelError
	}
}
