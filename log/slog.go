package log

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/micro/go-platform/internal/spanctx"
)

// NewSlogHandler returns a handler by which log/slog writes to l.
//
// Attributes become fields, those of groups with dotted names ("user.id"); slog
// levels map down to the nearest of debug, info, warn and error, never fatal.
// The ids of the span in the context are added as WithContext does. The time of
// the record is kept when l is a Log of NewLog or a Logger made from one; a
// record without time then has the timestamp 0.
func NewSlogHandler(l Logger) slog.Handler {
	if p, ok := l.(*platform); ok {
		l = &p.logger
	}
	return &slogHandler{to: l}
}

type slogHandler struct {
	to     Logger
	prefix string // of open groups, with its last dot
}

func (h *slogHandler) Enabled(_ context.Context, level slog.Level) bool {
	return h.to.Enabled(fromSlog(level))
}

func fromSlog(level slog.Level) Level {
	switch {
	case level < slog.LevelInfo:
		return DebugLevel
	case level < slog.LevelWarn:
		return InfoLevel
	case level < slog.LevelError:
		return WarnLevel
	}
	return ErrorLevel
}

func (h *slogHandler) Handle(ctx context.Context, r slog.Record) error {
	fields := make([]Field, 0, r.NumAttrs()+2)
	if span := spanctx.From(ctx); span != nil {
		trace, id := span.SpanIDs()
		fields = append(fields, Field{TraceField, trace}, Field{SpanField, id})
	}
	r.Attrs(func(a slog.Attr) bool {
		fields = flatten(fields, h.prefix, a)
		return true
	})
	level := fromSlog(r.Level)
	own, ok := h.to.(*logger)
	if !ok {
		h.to.LogFields(level, r.Message, fields...)
		return nil
	}
	var at int64
	if !r.Time.IsZero() {
		at = r.Time.UnixNano()
	}
	own.core.emit(own.fields, level, at, r.Message, fields)
	return nil
}

func (h *slogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var list []Field
	for _, a := range attrs {
		list = flatten(list, h.prefix, a)
	}
	if len(list) == 0 {
		return h
	}
	fields := make(Fields, len(list))
	for _, f := range list {
		fields[f.Key] = f.Value
	}
	return &slogHandler{to: h.to.WithFields(fields), prefix: h.prefix}
}

func (h *slogHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &slogHandler{to: h.to, prefix: h.prefix + name + "."}
}

// flatten appends the attribute, or those of a group under its name.
func flatten(fields []Field, prefix string, a slog.Attr) []Field {
	value := a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return fields
	}
	if value.Kind() != slog.KindGroup {
		return append(fields, Field{prefix + a.Key, slogText(value)})
	}
	if a.Key != "" {
		prefix += a.Key + "."
	}
	for _, member := range value.Group() {
		fields = flatten(fields, prefix, member)
	}
	return fields
}

func slogText(v slog.Value) string {
	switch v.Kind() {
	case slog.KindTime:
		return v.Time().Format(time.RFC3339Nano)
	case slog.KindAny:
		return fmt.Sprint(v.Any()) // survives a String or Error that panics
	}
	return v.String()
}

// NewSlogOutput returns an output that hands events to any slog.Handler, behind
// a Buffer. Fields become string attributes; fatal becomes slog.LevelError+4.
// The handler must not lead back into the same Log.
func NewSlogOutput(h slog.Handler, opts ...OutputOption) Output {
	return Buffered(slogOutput{h}, opts...)
}

type slogOutput struct{ handler slog.Handler }

func (o slogOutput) Send(e *Event) error {
	level := slog.Level(e.Level-InfoLevel) * 4
	ctx := context.Background() // that of the caller is gone
	if !o.handler.Enabled(ctx, level) {
		return nil
	}
	var at time.Time
	if e.Timestamp != 0 {
		at = time.Unix(0, e.Timestamp)
	}
	r := slog.NewRecord(at, level, e.Message, 0)
	for k, v := range e.Fields {
		r.AddAttrs(slog.String(k, v))
	}
	if err := o.handler.Handle(ctx, r); err != nil {
		return fmt.Errorf("log: slog handler: %w", err)
	}
	return nil
}

func (slogOutput) Flush() error   { return nil }
func (slogOutput) Close() error   { return nil }
func (slogOutput) String() string { return "slog" }
