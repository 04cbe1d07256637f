package trace

import (
	"context"
	"time"

	"github.com/micro/go-platform/internal/spanctx"
	"go-micro.dev/v6/registry"
)

// Tracer is the part of a Trace that all plugins have in common: it makes
// spans, decides on sampling, and reads and writes headers. Plugins embed it.
type Tracer struct {
	sampler    sampler
	service    *registry.Service
	formats    Format
	legacy     Format
	trustDebug bool
}

// NewTracer returns the Tracer that o describes.
func NewTracer(o Options) *Tracer {
	return &Tracer{
		sampler:    newSampler(o),
		service:    o.Service,
		formats:    o.Formats,
		legacy:     o.Formats | o.Legacy,
		trustDebug: o.TrustDebug,
	}
}

// NewSpan implements Trace.
func (t *Tracer) NewSpan(parent *Span) *Span {
	if parent == nil {
		return t.root(undecided, false)
	}
	traceID := parent.TraceId
	if !parent.made && !parent.remote && traceID != "" {
		// Made by hand: it may be anything.
		traceID, _ = NormalTraceID(traceID)
	}
	if traceID == "" {
		return t.root(t.inherited(parent), parent.Debug)
	}
	d := t.sampler.child(parent)
	s := t.begin(d)
	s.makeIDs(traceID, 0, 0, d == sampled)
	s.ParentId, s.Debug, s.state = parent.Id, parent.Debug, parent.state
	return s
}

// inherited is the decision that a parent without ids carries, if it counts.
func (t *Tracer) inherited(parent *Span) decision {
	switch {
	case parent.Debug:
		return sampled
	case parent.remote && !t.sampler.followParent:
		return undecided
	}
	return parent.decision
}

// root begins a trace.
func (t *Tracer) root(d decision, debug bool) *Span {
	high, low := randomID(), randomID()
	if d == undecided {
		d = t.sampler.fresh(low)
	}
	s := t.begin(d)
	s.makeIDs("", high, low, d == sampled)
	s.Debug = debug
	return s
}

// begin allocates a span without ids. One that is not recorded gets no time.
func (t *Tracer) begin(d decision) *Span {
	s := &Span{decision: d, Source: t.service}
	if d == sampled {
		s.Timestamp = time.Now()
	}
	return s
}

// NewContext implements Trace.
func (t *Tracer) NewContext(ctx context.Context, s *Span) context.Context {
	if s == nil {
		return ctx
	}
	return spanctx.With(ctx, s)
}

// FromContext implements Trace. All plugins share the current span.
func (t *Tracer) FromContext(ctx context.Context) (*Span, bool) { return spanFrom(ctx) }

// NewHeader implements Trace. It writes the formats of the options Headers and
// Legacy.
func (t *Tracer) NewHeader(md map[string]string, s *Span) map[string]string {
	return inject(md, s, t.legacy)
}

// WriteHeader does what NewHeader does, in the formats of the option Headers
// alone. The wrappers use it.
func (t *Tracer) WriteHeader(md map[string]string, s *Span) map[string]string {
	return inject(md, s, t.formats)
}

// SoleHeader returns the traceparent of s, and whether WriteHeader would write
// that and nothing else.
func (t *Tracer) SoleHeader(s *Span) (value string, sole bool) {
	if t.formats != W3C || s.state != "" || s.Debug {
		return "", false
	}
	return s.traceparent()
}

// FromHeader implements Trace. It knows all formats.
func (t *Tracer) FromHeader(md map[string]string) (*Span, bool) { return extract(md, t.trustDebug) }
