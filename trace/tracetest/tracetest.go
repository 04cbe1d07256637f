// Package tracetest is the conformance suite of trace plugins: Run for all of
// them, RunExport for those whose spans can be read back.
package tracetest

import (
	"testing"
	"time"

	"github.com/micro/go-platform/internal/lifecycle/lifecycletest"
	"github.com/micro/go-platform/trace"
)

// New returns a plugin that was not started, with opts after the options that it
// needs. The suite stops it.
type New func(t testing.TB, opts ...trace.Option) trace.Trace

// Read returns the spans of a trace that have arrived where the plugins of a New
// send them, in any order.
type Read func(t testing.TB, traceID string) []Span

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

// Run checks what holds for every plugin, also for one that records nothing.
func Run(t *testing.T, newTrace New) {
	t.Helper()
	t.Run("Lifecycle", func(t *testing.T) {
		lifecycletest.Run(t, lifecycletest.Case[trace.Trace, trace.Option]{
			New:       newTrace,
			Call:      func(tr trace.Trace) error { return tr.Collect(tr.NewSpan(&trace.Span{Name: "call", Debug: true})) },
			Dropped:   trace.Trace.Dropped,
			Bad:       trace.BatchSize(-1),
			Text:      "trace: option BatchSize: -1 is not within 1 to 1000",
			NilLogger: trace.Logger(nil),
		})
	})
	for name, test := range map[string]func(*testing.T, New){
		"Spans":             spans,
		"SpansByHand":       byHand,
		"FirstSpanByHand":   firstByHand,
		"Context":           contexts,
		"HeadersRoundTrip":  headers,
		"HeadersKeepOthers": headersKeepOthers,
		"HostileHeaders":    hostileHeaders,
		"SampledOut":        sampledOut,
		"BadOptions":        badOptions,
	} {
		t.Run(name, func(t *testing.T) { test(t, newTrace) })
	}
}

// RunExport checks what arrives.
func RunExport(t *testing.T, newTrace New, read Read) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, subject){
		"Collect":           collect,
		"CollectTwice":      collectTwice,
		"FirstCallStarts":   firstCall,
		"StopFlushes":       stopFlushes,
		"Concurrency":       concurrency,
		"DebugIsNotTrusted": debug,
		"HostileTexts":      hostileTexts,
	} {
		t.Run(name, func(t *testing.T) { test(t, subject{newTrace, read}) })
	}
}

// subject is a plugin and how the suite reads what arrives.
type subject struct {
	new  New
	read Read
}

// await polls until n spans of the trace have arrived.
func (s subject) await(t *testing.T, traceID string, n int) map[string]Span {
	t.Helper()
	var got []Span
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if got = s.read(t, traceID); len(got) >= n {
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
func (s subject) start(t *testing.T, opts ...trace.Option) trace.Trace {
	t.Helper()
	tr := s.new(t, append([]trace.Option{trace.BatchInterval(10 * time.Millisecond)}, opts...)...)
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
