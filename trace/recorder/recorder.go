// Package recorder keeps spans in memory: for tests of services that trace.
package recorder

import (
	"errors"
	"slices"
	"sync"

	"github.com/micro/go-platform/trace"
)

// Recorder is a trace.Trace whose spans can be looked at.
type Recorder struct {
	*trace.Tracer
	options trace.Options

	mu      sync.Mutex
	spans   []*trace.Span
	stopped bool
	dropped uint64
}

// NewTrace returns an empty recorder. It holds as many spans as the option
// QueueSize says and drops further ones.
func NewTrace(opts ...trace.Option) *Recorder {
	o := trace.NewOptions(opts...)
	return &Recorder{Tracer: trace.NewTracer(o), options: o}
}

// Collect implements trace.Trace. It records before Start too.
func (r *Recorder) Collect(s *trace.Span) error {
	if s == nil {
		return errors.New("trace: no span to collect")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !s.End() {
		return nil
	}
	switch {
	case r.stopped:
		r.dropped++
		return trace.ErrStopped
	case len(r.spans) >= r.options.QueueSize:
		r.dropped++
		return errors.New("trace: recorder full")
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

// Dropped returns how many spans did not fit or came after Stop.
func (r *Recorder) Dropped() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped
}

// Start implements trace.Trace.
func (r *Recorder) Start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return trace.ErrStopped
	}
	return r.options.Validate()
}

// Stop implements trace.Trace. What was collected stays.
func (r *Recorder) Stop() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	return nil
}

// String returns "recorder".
func (r *Recorder) String() string { return "recorder" }
