// Package bench compares go-platform with its peers. Each benchmark runs all of
// them in one process, so that their ratio can be read.
package bench

import (
	"io"
	"testing"

	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/log/discard"
	"github.com/rs/zerolog"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const message = "the order was accepted"

// encoder is a discarding output that encodes first, as zap's and zerolog's do
// when they write to io.Discard.
type encoder struct{ line []byte }

func (o *encoder) Send(e *log.Event) error {
	o.line = append(e.AppendJSON(o.line[:0]), '\n')
	_, err := io.Discard.Write(o.line)
	return err
}
func (*encoder) Flush() error   { return nil }
func (*encoder) Close() error   { return nil }
func (*encoder) String() string { return "encoder" }

// opaque hides from the compiler what a Logger is, as a field of a struct does.
type opaque struct{ log.Logger }

//go:noinline
func hide(l log.Logger) *opaque { return &opaque{l} }

func newZap() *zap.Logger {
	conf := zap.NewProductionEncoderConfig() // a time, as number
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(conf), zapcore.AddSync(io.Discard), zap.InfoLevel))
}

func newZerolog() zerolog.Logger { return zerolog.New(io.Discard).Level(zerolog.InfoLevel) }

func three() log.Fields { return log.Fields{"service": "orders", "version": "1.2.3", "node": "a-17"} }

func BenchmarkLogDisabled(b *testing.B) {
	b.Run("platform", func(b *testing.B) {
		l := log.NewLog(log.WithOutput(discard.NewOutput()))
		b.ReportAllocs()
		for b.Loop() {
			l.Debug(message)
		}
	})
	b.Run("platform/interface", func(b *testing.B) {
		l := hide(log.NewLog(log.WithOutput(discard.NewOutput())))
		b.ReportAllocs()
		for b.Loop() {
			l.Debugf(message)
		}
	})
	b.Run("platform/interface-args", func(b *testing.B) { // the language allocates them
		l := hide(log.NewLog(log.WithOutput(discard.NewOutput())))
		b.ReportAllocs()
		for b.Loop() {
			l.Debug(message)
		}
	})
	b.Run("zap", func(b *testing.B) {
		l := newZap()
		b.ReportAllocs()
		for b.Loop() {
			l.Debug(message)
		}
	})
	b.Run("zerolog", func(b *testing.B) {
		l := newZerolog()
		b.ReportAllocs()
		for b.Loop() {
			l.Debug().Msg(message)
		}
	})
}

func BenchmarkLogHeld3Fields(b *testing.B) {
	b.Run("platform/discard", func(b *testing.B) {
		l := log.NewLog(log.WithOutput(discard.NewOutput())).WithFields(three())
		b.ReportAllocs()
		for b.Loop() {
			l.Info(message)
		}
	})
	b.Run("platform", func(b *testing.B) {
		l := log.NewLog(log.WithOutput(&encoder{})).WithFields(three())
		b.ReportAllocs()
		for b.Loop() {
			l.Info(message)
		}
	})
	b.Run("platform/interface", func(b *testing.B) {
		l := hide(log.NewLog(log.WithOutput(&encoder{})).WithFields(three()))
		b.ReportAllocs()
		for b.Loop() {
			l.Infof(message)
		}
	})
	b.Run("zerolog", func(b *testing.B) {
		l := newZerolog().With().Timestamp().Str("service", "orders").Str("version", "1.2.3").Str("node", "a-17").Logger()
		b.ReportAllocs()
		for b.Loop() {
			l.Info().Msg(message)
		}
	})
	b.Run("zerolog/no-time", func(b *testing.B) { // an event without a time: less than ours holds
		l := newZerolog().With().Str("service", "orders").Str("version", "1.2.3").Str("node", "a-17").Logger()
		b.ReportAllocs()
		for b.Loop() {
			l.Info().Msg(message)
		}
	})
	b.Run("zap", func(b *testing.B) {
		l := newZap().With(zap.String("service", "orders"), zap.String("version", "1.2.3"), zap.String("node", "a-17"))
		b.ReportAllocs()
		for b.Loop() {
			l.Info(message)
		}
	})
}

func BenchmarkLog3FieldsAtTheCall(b *testing.B) {
	b.Run("platform/LogFields", func(b *testing.B) {
		l := hide(log.NewLog(log.WithOutput(&encoder{})))
		b.ReportAllocs()
		for b.Loop() {
			l.LogFields(log.InfoLevel, message, log.Field{Key: "service", Value: "orders"},
				log.Field{Key: "version", Value: "1.2.3"}, log.Field{Key: "node", Value: "a-17"})
		}
	})
	b.Run("platform/WithFields", func(b *testing.B) {
		l := hide(log.NewLog(log.WithOutput(&encoder{})))
		b.ReportAllocs()
		for b.Loop() {
			l.WithFields(three()).Info(message)
		}
	})
	b.Run("zap", func(b *testing.B) {
		l := newZap()
		b.ReportAllocs()
		for b.Loop() {
			l.Info(message, zap.String("service", "orders"), zap.String("version", "1.2.3"), zap.String("node", "a-17"))
		}
	})
	b.Run("zap/With", func(b *testing.B) {
		l := newZap()
		b.ReportAllocs()
		for b.Loop() {
			l.With(zap.String("service", "orders"), zap.String("version", "1.2.3"), zap.String("node", "a-17")).Info(message)
		}
	})
	b.Run("zap/sugar", func(b *testing.B) {
		l := newZap().Sugar()
		b.ReportAllocs()
		for b.Loop() {
			l.Infow(message, "service", "orders", "version", "1.2.3", "node", "a-17")
		}
	})
	b.Run("zerolog", func(b *testing.B) {
		l := newZerolog().With().Timestamp().Logger()
		b.ReportAllocs()
		for b.Loop() {
			l.Info().Str("service", "orders").Str("version", "1.2.3").Str("node", "a-17").Msg(message)
		}
	})
}
