// Package discard is tracing switched off: ids are made and passed on, so that
// other services can trace, and nothing is recorded.
package discard

import (
	"context"
	"errors"

	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/loss"
	"github.com/micro/go-platform/trace"
)

type life = lifecycle.Plugin

type discard struct {
	*trace.Tracer
	*life
	late loss.Counter
}

// NewTrace returns a trace.Trace that records nothing. Of the options only
// those for headers have an effect; all are validated.
func NewTrace(opts ...trace.Option) trace.Trace {
	check := trace.NewOptions(opts...).Validate
	opts = append(opts[:len(opts):len(opts)], trace.SampleRatio(0), trace.TrustDebug(false))
	return &discard{
		Tracer: trace.NewTracer(trace.NewOptions(opts...)),
		life:   lifecycle.NewPlugin("trace", lifecycle.Hooks{Check: check}),
	}
}

// Collect drops the span, which is sampled only if a caller asked for recording.
func (d *discard) Collect(s *trace.Span) error {
	if s == nil {
		return errors.New("trace: no span to collect")
	}
	if !s.End() {
		return nil
	}
	err := d.Use(context.Background())
	if err != nil {
		d.late.Add(1)
	}
	return err
}

// Dropped returns how many spans came after Stop, or while the plugin could not
// start.
func (d *discard) Dropped() uint64 { return d.late.Total() }

func (d *discard) String() string { return "discard" }
