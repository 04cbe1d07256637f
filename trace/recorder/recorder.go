// Package recorder keeps spans in memory: for tests of services that trace.
package recorder

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/trace"
)

type life = lifecycle.Plugin

// Recorder is a trace.Trace that keeps its spans in memory for tests. They stay
// readable after Stop.
type Recorder struct {
	*trace.Tracer
	*life
	options trace.Options

	mu      sync.Mutex
	spans   []*trace.Span
	dropped uint64
}

// NewTrace returns an empty recorder. It holds as many spans as the option
// QueueSize says and drops further ones.
func NewTrace(opts ...trace.Option) *Recorder {
	o := trace.NewOptions(opts...)
	return &Recorder{
		Tracer: trace.NewTracer(o), options: o,
		life: lifecycle.NewPlugin("trace", lifecycle.Hooks{Check: o.Validate}),
	}
}

// Collect implements trace.Trace.
func (r *Recorder) Collect(s *trace.Span) error {
	if s == nil {
		return errors.New("trace: no span to collect")
	}
	err := r.Use(context.Background())
	r.mu.Lock()
	defer r.mu.Unlock()
	if !s.End() {
		return nil
	}
	if err == nil && len(r.spans) >= r.options.QueueSize {
		err = errors.New("trace: recorder full")
	}
	if err != nil {
		r.dropped++
		return err
	}
	r.spans = append(r.spans, s)
	return nil
}

// Spans returns what was collected, in that order.
func (r *Recorder) Spans() []*trace.Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

// Reset forgets what was collected.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spans = nil
}

// Dropped returns how many spans did not fit, came after Stop, or came while the
// plugin could not start.
func (r *Recorder) Dropped() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped
}

// String returns "recorder".
func (r *Recorder) String() string { return "recorder" }
