// Package trace records spans across calls, streams and messages of go-micro
// services: which service called which, for how long, and what failed.
//
// A Trace makes spans, carries them in contexts and headers, and collects the
// finished ones. NewTrace reports to trace-srv; the packages below this one
// report elsewhere, and the wrappers do the work for whole services.
package trace

import (
	"context"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/rpcerr"
)

// Trace makes, carries and collects spans.
//
// All methods are safe for concurrent use. The first Collect starts the plugin,
// as Start does; after Stop spans are dropped and counted. None blocks on the
// network but Stop.
type Trace interface {
	// NewSpan begins a span and never returns nil. What s says depends on its Id:
	// with one it is the parent, or without a trace id the caller's decision on
	// sampling; without one it is what the new span shall be, which gets its
	// Name, TraceId, ParentId, Debug, Source, Destination, Timestamp, Duration and
	// Annotations as far as they are set. A span that has no valid trace id by
	// then, as that of a nil s, is the first of a new trace. NewSpan decides
	// whether the span is recorded (Span.Sampled); of a trace id without a parent
	// it is decided as of a caller who did not decide.
	NewSpan(s *Span) *Span
	// NewContext returns a context with s as its current span.
	NewContext(ctx context.Context, s *Span) context.Context
	// FromContext returns the current span.
	FromContext(ctx context.Context) (*Span, bool)
	// NewHeader writes the ids of s into md, which it makes when nil, keeps all
	// other entries and returns it. It writes for old peers too.
	NewHeader(md map[string]string, s *Span) map[string]string
	// FromHeader returns the span of the caller, to be given to NewSpan. Keys are
	// read in any letter case. It returns false when there is no valid one; it
	// may return one without ids, which only carries a sampling decision.
	FromHeader(md map[string]string) (*Span, bool)
	// Collect ends s and hands it over to be sent; s must not be changed any
	// more. A Duration of zero becomes the time since Timestamp. A span that is
	// not sampled, or was collected before, is ignored. The error says that the
	// span was dropped, and is that of Start where the plugin cannot start.
	Collect(s *Span) error
	// Dropped returns how many spans were lost since the start.
	Dropped() uint64
	// Start begins to send what is collected. It does not wait for the server.
	// It is idempotent. An option with a bad value is an ErrInvalid, each time;
	// after Stop it returns ErrStopped.
	Start() error
	// Stop sends what is left within two seconds and returns an ErrLost that says
	// how many spans did not arrive. It is idempotent; later spans are dropped.
	Stop() error
	// String returns the name of the plugin.
	String() string
}

// The defaults, the topic that spans go to while trace-srv cannot be reached,
// and the headers of old peers. They are variables for the sake of programs
// written for the original go-platform; do not change them.
var (
	DefaultBatchSize     = 100
	DefaultBatchInterval = 5 * time.Second

	TraceTopic = "micro.trace.span"

	TraceHeader  = "X-Micro-Trace-Id"
	SpanHeader   = "X-Micro-Span-Id"
	ParentHeader = "X-Micro-Parent-Id"
	DebugHeader  = "X-Micro-Trace-Debug"
)

var (
	// ErrInvalid is wrapped by what Start says of an option.
	ErrInvalid = rpcerr.ErrInvalid
	// ErrStopped is returned by Start and Collect after Stop.
	ErrStopped = lifecycle.ErrStopped
	// ErrLost is wrapped by what Stop says of spans that did not arrive.
	ErrLost = lifecycle.ErrLost
)

// ServiceName is the service that NewTrace's spans go to.
const ServiceName = "go.micro.srv.trace"
