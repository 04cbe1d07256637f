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
// All methods are safe for concurrent use, before Start and after Stop too.
// None blocks on the network but Stop.
type Trace interface {
	// NewSpan begins a span: a child of parent, or the first span of a new trace
	// when parent is nil or has no trace id. It decides whether the span is
	// recorded (Span.Sampled) and never returns nil.
	NewSpan(parent *Span) *Span
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
	// span was dropped.
	Collect(s *Span) error
	// Dropped returns how many spans were lost since the start.
	Dropped() uint64
	// Start begins to send what is collected. It does not wait for the server.
	// It is idempotent, and returns an error that names the option with a bad
	// value.
	Start() error
	// Stop sends what is left within two seconds and returns an error that says
	// how many spans were lost. It is idempotent; later spans are dropped.
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
)

// ServiceName is the service that NewTrace's spans go to.
const ServiceName = "go.micro.srv.trace"
