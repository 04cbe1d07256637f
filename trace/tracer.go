package trace

import (
	"cmp"
	"context"
	"slices"
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
func (t *Tracer) NewSpan(s *Span) *Span {
	switch {
	case s == nil:
		return t.root(undecided, false)
	case s.Id == "":
		return t.complete(s)
	}
	traceID := s.TraceId
	if !s.made && !s.remote && traceID != "" {
		// Made by hand: it may be anything.
		traceID, _ = NormalTraceID(traceID)
	}
	if traceID == "" {
		return t.root(t.inherited(s), s.Debug)
	}
	d := t.sampler.child(s)
	child := t.begin(d)
	child.makeIDs(traceID, 0, 0, d == sampled)
	child.ParentId, child.Debug, child.state = s.Id, s.Debug, s.state
	return child
}

// complete returns the span that like describes.
func (t *Tracer) complete(like *Span) *Span {
	var s *Span
	d := t.inherited(like)
	if traceID, ok := NormalTraceID(like.TraceId); ok {
		if d == undecided {
			d = t.sampler.fresh(lowID(traceID))
		}
		s = t.begin(d)
		s.makeIDs(traceID, 0, 0, d == sampled)
		s.Debug, s.state = like.Debug, like.state
		s.ParentId, _ = NormalSpanID(like.ParentId)
	} else {
		s = t.root(d, like.Debug)
	}
	s.Name = like.Name
	s.Source, s.Destination = cmp.Or(like.Source, s.Source), like.Destination
	if !s.Sampled() {
		return s
	}
	if !like.Timestamp.IsZero() {
		s.Timestamp = like.Timestamp
	}
	s.Duration = like.Duration
	like.Lock()
	defer like.Unlock()
	s.Annotations = slices.Clone(like.Annotations)
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
