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
	// NewSpan begins a span and never returns nil.
	//
	// An s with an Id is the parent of the new span. An s of FromHeader without
	// ids only gives the caller's decision on sampling. Any other s without an Id
	// describes the new span, which gets those of its Name, TraceId, ParentId,
	// Debug, Source, Destination, Timestamp, Duration and Annotations that are
	// set. A nil s, or an s without a valid trace id, begins a new trace.
	//
	// NewSpan decides whether the span is recorded (Span.Sampled): a child follows
	// its parent (see SampleParent), and a new trace is decided by the options. So
	// is a described span with a trace id, unless s has a decision.
	NewSpan(s *Span) *Span
	// NewContext returns a context with s as its current span.
	NewContext(ctx context.Context, s *Span) context.Context
	// FromContext returns the current span.
	FromContext(ctx context.Context) (*Span, bool)
	// NewHeader writes the ids of s into md, which it makes when nil, keeps all
	// other entries and returns it. It writes for old peers too.
	NewHeader(md map[string]string, s *Span) map[string]string
	// FromHeader returns the span of the caller, for NewSpan. Keys are read in any
	// letter case. It returns false when there is no valid span; it may return a
	// span without ids, which only carries a sampling decision.
	FromHeader(md map[string]string) (*Span, bool)
	// Collect ends s and hands it over to be sent; s must not be changed any
	// more. A Duration of zero becomes the time since Timestamp. A span that is
	// not sampled, or was collected before, is ignored. An error says that the span
	// was dropped; when the plugin cannot start it is the error of Start.
	Collect(s *Span) error
	// Dropped returns how many spans were lost since the start.
	Dropped() uint64
	// Start begins to send what is collected. It does not wait for the server.
	// It is idempotent. It returns an ErrInvalid that names an option with a bad
	// value, and ErrStopped after Stop.
	Start() error
	// Stop sends what is left within two seconds. It returns an ErrLost that counts
	// the spans that did not arrive. It is idempotent; later spans are dropped.
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
	// ErrInvalid is wrapped by errors of Start that name a bad option.
	ErrInvalid = rpcerr.ErrInvalid
	// ErrStopped is returned by Start and Collect after Stop.
	ErrStopped = lifecycle.ErrStopped
	// ErrLost is returned by Stop when spans did not arrive; its text counts them.
	ErrLost = lifecycle.ErrLost
)

// ServiceName is the service that NewTrace's spans go to.
const ServiceName = "go.micro.srv.trace"
