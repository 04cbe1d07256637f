// This file, with Tracer, is for authors of plugins; users of trace need nothing of
// it.

package trace

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/micro/go-platform/internal/batch"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/loss"
)

// Exporter is where the spans of a Plugin go.
type Exporter interface {
	// Start is called before the first Export, and again until it succeeds. It must
	// not wait for the server. An error about an option wraps ErrInvalid.
	Start() error
	// Export delivers the spans before ctx ends. An error means that none
	// arrived and that the same ones come again, unless it is a *RejectedError or
	// wraps ErrInvalid. ErrInvalid says that some of the spans, or so many at once,
	// will never be taken: they come again in halves, until only those spans that
	// are at fault are dropped.
	// Export is called by one goroutine at a time and must not keep the slice.
	// To read the annotations of a span it holds the span's lock.
	Export(ctx context.Context, spans []*Span) error
	// Stop is called after the last Export, if Start succeeded.
	Stop() error
}

// RejectedError is returned by an Export whose server will never take some of
// the spans. They are counted as dropped, and none comes again.
type RejectedError struct {
	Count  int
	Reason string
}

// Error implements error.
func (e *RejectedError) Error() string {
	if e.Count == 1 {
		return "1 span rejected: " + e.Reason
	}
	return fmt.Sprintf("%d spans rejected: %s", e.Count, e.Reason)
}

func (e *RejectedError) add(n int, reason string) {
	if e.Count == 0 {
		e.Reason = reason
	}
	e.Count += n
}

// life hides the embedded lifecycle.Plugin from the documentation.
type life = lifecycle.Plugin

// Plugin is a Trace that sends its spans in batches to an Exporter: a bounded
// queue, one sender, retries with backoff, loss counted.
type Plugin struct {
	*Tracer
	*life
	name     string
	options  Options
	exporter Exporter
	queue    *batch.Queue[*Span]
	rejected loss.Counter
	// collected sees every span that was queued or dropped, if set.
	collected func(*Span)
}

// NewPlugin returns a plugin of the name with the options.
func NewPlugin(name string, exporter Exporter, o Options) *Plugin {
	p := &Plugin{Tracer: NewTracer(o), name: name, options: o, exporter: exporter}
	p.queue = batch.New(batch.Config[*Span]{
		Name:     "spans",
		Size:     o.BatchSize,
		Interval: o.BatchInterval,
		Capacity: o.QueueSize,
		Timeout:  o.CollectTimeout,
		Logger:   o.Logger,
		Send:     p.send,
	})
	p.life = lifecycle.NewPlugin("trace", lifecycle.Hooks{Check: o.Validate, Open: p.open, Close: p.close})
	return p
}

func (p *Plugin) open(context.Context) error {
	if err := p.exporter.Start(); errors.Is(err, ErrInvalid) {
		return err // it names the option
	} else if err != nil {
		return fmt.Errorf("trace: start %s: %w", p.name, err)
	}
	return p.queue.Start()
}

func (p *Plugin) close() error {
	err := p.queue.Stop()
	if err != nil {
		err = fmt.Errorf("trace: %w", err)
	}
	if stop := p.exporter.Stop(); stop != nil {
		err = errors.Join(err, fmt.Errorf("trace: stop %s: %w", p.name, stop))
	}
	return err
}

var (
	errNoSpan = errors.New("trace: no span to collect")
	errFull   = fmt.Errorf("trace: span dropped: %w", batch.ErrFull)
)

// Collect implements Trace.
func (p *Plugin) Collect(s *Span) error {
	if s == nil {
		return errNoSpan
	}
	if !s.End() {
		return nil
	}
	if err := p.Use(context.Background()); err != nil {
		p.queue.Drop(1)
		return err
	}
	err := p.queue.Add(s)
	if p.collected != nil {
		p.collected(s)
	}
	switch {
	case errors.Is(err, batch.ErrFull):
		return errFull
	case err != nil: // Stop came in between
		return fmt.Errorf("trace: %w", err)
	}
	return nil
}

// send runs in the one sender.
func (p *Plugin) send(ctx context.Context, spans []*Span) error {
	err := p.exporter.Export(ctx, spans)
	var rejected *RejectedError
	switch {
	case errors.As(err, &rejected):
		p.rejected.Add(rejected.Count)
		p.rejected.Report(p.options.Logger, "spans", rejected.Reason)
		return nil
	case errors.Is(err, ErrInvalid):
		return fmt.Errorf("%w: %w", batch.ErrNever, err)
	case err == nil:
		p.rejected.Report(p.options.Logger, "spans", "")
	}
	return err
}

// Flush starts the plugin and sends what was collected so far. It returns the error
// of sending, or of ctx.
func (p *Plugin) Flush(ctx context.Context) error {
	if err := p.Use(ctx); err != nil {
		return err
	}
	if err := p.queue.Flush(ctx); err != nil {
		return fmt.Errorf("trace: flush: %w", err)
	}
	return nil
}

// Dropped returns how many sampled spans were lost.
func (p *Plugin) Dropped() uint64 { return p.queue.Dropped() + p.rejected.Total() }

// String implements Trace.
func (p *Plugin) String() string { return p.name }

// NormalTraceID returns the trace id in the form of Span.TraceId: 32
// hexadecimal digits in lower case. It also takes fewer digits (leading zeros were
// left out, or they are the 16 digits of older Zipkin libraries) and the UUIDs of
// the original go-platform. It returns false for anything else, and for zero.
func NormalTraceID(id string) (string, bool) { return normal(id, traceEnd-traceAt) }

// NormalSpanID returns the span id in the form of Span.Id: 16 hexadecimal
// digits in lower case. It also takes fewer digits, when leading zeros were left
// out. Of a UUID of the original go-platform it takes the first half: the second
// half of version 1 names the machine. It returns false for anything else, and for
// zero.
func NormalSpanID(id string) (string, bool) {
	const size = spanEnd - spanAt
	id, ok := normal(id, size)
	if !ok || len(id) == size {
		return id, ok
	}
	return normal(id[:size], size)
}

// SplitAddress splits the "host:port" of a node; a port that is not there is 0.
func SplitAddress(address string) (host string, port int64) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return address, 0
	}
	if port, err = strconv.ParseInt(text, 10, 32); err != nil {
		return address, 0
	}
	return host, port
}
