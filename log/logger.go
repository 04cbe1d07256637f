package log

import (
	"context"
	"fmt"

	"github.com/micro/go-platform/internal/spanctx"
)

// logger is the one Logger. Its methods are small enough to be inlined where
// the compiler sees what it is, so that a disabled call costs a load and a
// comparison and its arguments are never allocated.
type logger struct {
	core   *core
	fields *fieldSet // nil: those of the Log
}

func (l *logger) Enabled(level Level) bool { return level >= Level(l.core.level.Load()) }

func (l *logger) Debug(args ...any) {
	if l.Enabled(DebugLevel) {
		l.print(DebugLevel, args)
	}
}

func (l *logger) Info(args ...any) {
	if l.Enabled(InfoLevel) {
		l.print(InfoLevel, args)
	}
}

func (l *logger) Warn(args ...any) {
	if l.Enabled(WarnLevel) {
		l.print(WarnLevel, args)
	}
}

func (l *logger) Error(args ...any) {
	if l.Enabled(ErrorLevel) {
		l.print(ErrorLevel, args)
	}
}

func (l *logger) Fatal(args ...any) { l.print(FatalLevel, args) }

func (l *logger) Debugf(format string, args ...any) {
	if l.Enabled(DebugLevel) {
		l.printf(DebugLevel, format, args)
	}
}

func (l *logger) Infof(format string, args ...any) {
	if l.Enabled(InfoLevel) {
		l.printf(InfoLevel, format, args)
	}
}

func (l *logger) Warnf(format string, args ...any) {
	if l.Enabled(WarnLevel) {
		l.printf(WarnLevel, format, args)
	}
}

func (l *logger) Errorf(format string, args ...any) {
	if l.Enabled(ErrorLevel) {
		l.printf(ErrorLevel, format, args)
	}
}

func (l *logger) Fatalf(format string, args ...any) { l.printf(FatalLevel, format, args) }

func (l *logger) Log(level Level, args ...any) {
	if level = level.known(); l.Enabled(level) {
		l.print(level, args)
	}
}

func (l *logger) Logf(level Level, format string, args ...any) {
	if level = level.known(); l.Enabled(level) {
		l.printf(level, format, args)
	}
}

func (l *logger) LogFields(level Level, message string, fields ...Field) {
	if level = level.known(); l.Enabled(level) {
		l.core.emit(l.fields, level, l.core.clock.now(), message, fields)
	}
}

func (l *logger) WithFields(fields Fields) Logger { return l.with(fields) }

func (l *logger) WithContext(ctx context.Context) Logger {
	span := spanctx.From(ctx)
	if span == nil {
		return l
	}
	trace, id := span.SpanIDs()
	return l.with(Fields{TraceField: trace, SpanField: id})
}

func (l *logger) with(fields Fields) *logger {
	s := l.core.state.Load()
	base := l.fields
	if base == nil {
		base = s.fields
	}
	c := &child{logger: logger{core: l.core}}
	c.set.init(s.redact.merge(base.fields, fields), c.room[:0])
	c.fields = &c.set
	return &c.logger
}

// child is a logger with the fields it holds, in one allocation as a rule: many
// a Logger is made for a single event.
type child struct {
	logger
	set  fieldSet
	room [128]byte // for the JSON of a few fields
}

func (l *logger) print(level Level, args []any) {
	l.core.emit(l.fields, level, l.core.clock.now(), message(args), nil)
}

func (l *logger) printf(level Level, format string, args []any) {
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	l.core.emit(l.fields, level, l.core.clock.now(), format, nil)
}

// message spares the usual case, one string, the way through fmt.
func message(args []any) string {
	if len(args) == 1 {
		if s, ok := args[0].(string); ok {
			return s
		}
	}
	return fmt.Sprint(args...)
}
