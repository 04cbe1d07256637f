// Package tracetest is the conformance suite of trace plugins.
package tracetest

import (
	"testing"
	"time"

	"github.com/micro/go-platform/trace"
)

// Subject is the plugin under test.
type Subject struct {
	// New returns a plugin that was not started. It passes opts on after its own.
	New func(t *testing.T, opts ...trace.Option) trace.Trace
	// Read returns the spans of a trace that have arrived where the plugin sends
	// them, in any order.
	Read func(t *testing.T, traceID string) []Span
}

// Span is what must have arrived of a span.
type Span struct {
	ID, ParentID string
	Name         string // in lower case
	Kind         trace.Kind
	Service      string // that recorded it
	Duration     time.Duration
	Error        string
	Tags         map[string]string
}

// Run runs the suite.
func Run(t *testing.T, s Subject) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Subject){
		"Spans":             spans,
		"Context":           contexts,
		"HeadersRoundTrip":  headers,
		"HeadersKeepOthers": headersKeepOthers,
		"HostileHeaders":    hostileHeaders,
		"SampledOut":        sampledOut,
		"DebugIsNotTrusted": debug,
		"Collect":           collect,
		"CollectTwice":      collectTwice,
		"BeforeStart":       beforeStart,
		"StopFlushes":       stopFlushes,
		"Lifecycle":         lifecycle,
		"BadOptions":        badOptions,
		"Concurrency":       concurrency,
	} {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
}

// await polls until n spans of the trace have arrived.
func await(t *testing.T, s Subject, traceID string, n int) map[string]Span {
	t.Helper()
	var got []Span
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if got = s.Read(t, traceID); len(got) >= n {
			break
		}
	}
	if len(got) != n {
		t.Fatalf("%d spans of trace %s arrived, want %d: %+v", len(got), traceID, n, got)
	}
	byID := make(map[string]Span)
	for _, span := range got {
		byID[span.ID] = span
	}
	return byID
}

// start returns a plugin that runs until the test ends.
func start(t *testing.T, s Subject, opts ...trace.Option) trace.Trace {
	t.Helper()
	tr := s.New(t, append([]trace.Option{trace.BatchInterval(10 * time.Millisecond)}, opts...)...)
	if err := tr.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return tr
}
