package trace

import (
	"strconv"

	"golang.org/x/time/rate"
)

// decision says whether a span is recorded.
type decision uint8

const (
	undecided decision = iota
	sampled
	unsampled
)

// sampler decides on new traces, and on those whose caller did not.
type sampler struct {
	bound        uint64 // traces whose low id bits are below are in
	limit        *rate.Limiter
	followParent bool
}

// newSampler uses the probability sampling of the OpenTelemetry SDKs
// (TraceIDRatioBased): the decision depends on the low 63 bits of the trace id
// alone, so that all services with one ratio agree.
func newSampler(o Options) sampler {
	s := sampler{followParent: !o.IgnoreParent}
	switch {
	case o.SampleRatio >= 1:
		s.bound = 1 << 63
	case o.SampleRatio > 0:
		s.bound = uint64(o.SampleRatio * (1 << 63))
	}
	if o.SampleRate > 0 {
		s.limit = rate.NewLimiter(rate.Limit(o.SampleRate), max(1, int(o.SampleRate)))
	}
	return s
}

// child decides on a span whose parent has a trace id.
func (s *sampler) child(parent *Span) decision {
	switch {
	case parent.Debug:
		return sampled
	case !parent.remote && parent.decision != unsampled:
		return sampled
	case !parent.remote || s.followParent && parent.decision == unsampled:
		return unsampled
	case s.followParent && parent.decision == sampled:
		return sampled
	}
	return s.fresh(lowID(parent.TraceId))
}

// lowID returns the low half of a valid trace id.
func lowID(traceID string) uint64 {
	low, _ := strconv.ParseUint(traceID[16:], 16, 64) // valid ids do not fail
	return low
}

// fresh decides on a trace that nobody decided on.
func (s *sampler) fresh(low uint64) decision {
	if low>>1 >= s.bound || s.limit != nil && !s.limit.Allow() {
		return unsampled
	}
	return sampled
}
